"""The front end that is steady under gain, silence and offset, and steps of 0.16 s."""

import pytest
import torch

import dcasenet
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings


@pytest.fixture
def frontend() -> LogMel:
    return LogMel(FrontEndSettings(normalization="level"))


def sound(seed: int = 0, seconds: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, round(24_000 * seconds), generator=generator)
    return 0.1 * noise * torch.linspace(0.1, 1.0, noise.shape[1])


@pytest.mark.parametrize("decibels", [-40.0, -10.0, 20.0])
def test_a_gain_changes_nothing(frontend: LogMel, decibels: float) -> None:
    waveform = sound()
    louder = waveform * 10 ** (decibels / 20)
    torch.testing.assert_close(frontend(louder), frontend(waveform), rtol=1e-4, atol=1e-3)


def test_an_offset_changes_nothing_but_rounding(frontend: LogMel) -> None:
    waveform = sound()
    torch.testing.assert_close(frontend(waveform + 0.1), frontend(waveform), rtol=1e-2, atol=2e-2)


def test_silence_after_a_sound_leaves_its_frames_as_they_were(frontend: LogMel) -> None:
    waveform = sound()
    padded = torch.cat((waveform, torch.zeros(1, 48_000)), dim=1)
    alone, with_silence = frontend(waveform), frontend(padded)
    inside = alone.shape[2] - 5
    # The offset that is taken off is a mean over a longer clip; it lies in the lowest bins.
    torch.testing.assert_close(
        with_silence[:, 8:, 5:inside], alone[:, 8:, 5:inside], rtol=1e-2, atol=2e-2
    )
    assert float(with_silence[:, 8:, -20:].mean()) < -15.0


def test_digital_silence_is_finite_and_the_floor(frontend: LogMel) -> None:
    silent = frontend(torch.zeros(1, 24_000))
    torch.testing.assert_close(silent, torch.full_like(silent, -16.118), rtol=0, atol=1e-2)


def test_time_pooling_of_one_makes_steps_of_eight_frames() -> None:
    network = dcasenet.create("v3", n_scenes=2, n_tags=3, n_events=4, width=1 / 16, time_pooling=1)
    outputs = network(torch.randn(1, 128, 251))
    assert outputs.event.shape == (1, 31, 4)


@pytest.mark.parametrize("pooling", [0, 6, 2.5])
def test_other_poolings_are_refused(pooling: object) -> None:
    with pytest.raises(ValueError, match="time_pooling"):
        dcasenet.create("v3", width=1 / 16, time_pooling=pooling)  # type: ignore[arg-type]
