from __future__ import annotations

import numpy as np
import pytest
import torch

from dcasenet.models.frontend import LogMel, mel_filterbank
from dcasenet.spec import FrontEndSettings
from tests.parity.golden import clips


@pytest.fixture(scope="module")
def frontend() -> LogMel:
    return LogMel(FrontEndSettings())


@pytest.mark.parametrize("clip", clips("wave24k"))
def test_log_mel_equals_the_authors(
    frontend: LogMel, golden: dict[str, np.ndarray], clip: str
) -> None:
    waveform = torch.from_numpy(golden[f"{clip}/wave24k"])[None]
    difference = np.abs(frontend(waveform)[0].numpy() - golden[f"{clip}/logmel"])
    assert difference.max() < 1e-3
    assert np.median(difference) < 1e-5


def test_published_fixture(frontend: LogMel) -> None:
    k = torch.arange(120_001)
    waveform = (((k * 7919) % 2003) / 2003 - 0.5).float()[None]
    log_mel = frontend.log_mel(waveform)[0]
    assert log_mel.shape == (128, 251)
    points = torch.stack((log_mel[0, 0], log_mel[64, 100], log_mel[127, 250]))
    assert points.tolist() == pytest.approx([-4.37760, 2.52165, 6.33955], abs=2e-5)
    normalized = frontend(waveform)[0]
    points = torch.stack((normalized[0, 0], normalized[64, 100], normalized[127, 250]))
    assert points.tolist() == pytest.approx([4.7272, -0.0706, -14.3598], abs=5e-4)


def test_batch_equals_singles(frontend: LogMel) -> None:
    batch = torch.randn(3, 30_000, generator=torch.Generator().manual_seed(1))
    singles = torch.cat([frontend(waveform[None]) for waveform in batch])
    torch.testing.assert_close(frontend(batch), singles, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_samples", [1, 2, 479, 1025, 1026, 5_000, 19_200, 19_201])
def test_short_waveforms_give_at_least_40_finite_frames(frontend: LogMel, n_samples: int) -> None:
    log_mel = frontend(torch.randn(1, n_samples, generator=torch.Generator().manual_seed(2)))
    assert log_mel.shape[2] >= 40
    assert log_mel.isfinite().all()


def test_short_log_mel_is_doubled_as_power(frontend: LogMel) -> None:
    waveform = torch.randn(1, 14_400, generator=torch.Generator().manual_seed(3))
    log_mel = frontend.log_mel(waveform)
    assert log_mel.shape[2] == 60  # 30 frames, doubled once
    torch.testing.assert_close(log_mel[:, :, :30], log_mel[:, :, 30:])


def test_waveform_under_1026_samples_is_repeated(frontend: LogMel) -> None:
    short = torch.randn(1, 400, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(frontend(short), frontend(short.repeat(1, 3)[:, :1026]))


def test_silence_is_finite_and_constant(frontend: LogMel) -> None:
    assert frontend.log_mel(torch.zeros(1, 24_000)).unique().tolist() == pytest.approx(
        [float(np.log(np.float32(1e-7)))]
    )
    assert frontend(torch.zeros(1, 24_000)).abs().max() <= 0.006


def test_only_exact_zeros_are_floored(frontend: LogMel) -> None:
    faint = torch.full((1, 24_000), 1e-7) * torch.randn(
        24_000, generator=torch.Generator().manual_seed(5)
    )
    assert frontend.log_mel(faint).min() < float(np.log(1e-7)) - 1


def test_bins_above_max_frequency_are_zero_and_others_unchanged() -> None:
    waveform = torch.randn(1, 48_000, generator=torch.Generator().manual_seed(6))
    full = LogMel(FrontEndSettings())(waveform)
    limited = LogMel(FrontEndSettings(max_frequency=8_000.0))(waveform)
    upper_edges = mel_filterbank(128, 2048, 24_000)[1]
    above = upper_edges > 8_000.5
    assert 0 < above.sum() < 64
    assert (limited[0, above] == 0).all()
    torch.testing.assert_close(limited[0, ~above], full[0, ~above])


def test_fixed_normalization_uses_the_stored_numbers_and_keeps_the_spectrum() -> None:
    frontend = LogMel(FrontEndSettings(normalization="fixed"))
    assert set(frontend.state_dict()) == {"mean", "deviation"}
    frontend.mean.fill_(-3.0)
    frontend.deviation.fill_(2.0)
    waveform = torch.randn(1, 48_000, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(frontend(waveform), (frontend.log_mel(waveform) + 3.0) / 2.0)
    louder = frontend(waveform * 10) - frontend(waveform)
    assert louder.mean() == pytest.approx(np.log(100) / 2, abs=1e-3)


def test_fixed_normalization_does_not_depend_on_where_a_recording_is_cut() -> None:
    fixed = LogMel(FrontEndSettings(normalization="fixed"))
    waveform = torch.randn(1, 96_001, generator=torch.Generator().manual_seed(8))
    whole, part = fixed(waveform), fixed(waveform[:, 24_000:])
    torch.testing.assert_close(whole[:, :, 60:], part[:, :, 10:], atol=1e-4, rtol=0)


def test_clip_normalization_stores_nothing(frontend: LogMel) -> None:
    assert frontend.state_dict() == {}


def test_gradients_flow_to_the_waveform(frontend: LogMel) -> None:
    waveform = torch.randn(1, 24_000, requires_grad=True)
    frontend(waveform).square().mean().backward()
    assert waveform.grad is not None
    assert waveform.grad.isfinite().all()


def test_mixed_precision_does_not_reach_it(frontend: LogMel) -> None:
    waveform = torch.randn(1, 24_000, generator=torch.Generator().manual_seed(9))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = frontend(waveform)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, frontend(waveform))


def test_mixed_precision_does_not_reach_the_log_mel_either(frontend: LogMel) -> None:
    waveform = torch.randn(1, 24_000, generator=torch.Generator().manual_seed(10))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = frontend.log_mel(waveform)
    torch.testing.assert_close(inside, frontend.log_mel(waveform))


def test_what_is_no_batch_of_waveforms_is_refused(frontend: LogMel) -> None:
    for shape in ((100,), (1, 0), (1, 2, 100)):
        with pytest.raises(ValueError, match=r"give \(batch, samples\)"):
            frontend(torch.zeros(shape))
    with pytest.raises(ValueError, match="normalization='fixd'"):
        LogMel(FrontEndSettings(normalization="fixd"))


def test_mel_filters_against_torchaudio() -> None:
    functional = pytest.importorskip(
        "torchaudio.functional", reason="torchaudio cannot be imported here", exc_type=ImportError
    )
    expected = functional.melscale_fbanks(1025, 0.0, 12_000.0, 128, 24_000).T
    torch.testing.assert_close(mel_filterbank(128, 2048, 24_000)[0], expected, atol=1e-5, rtol=0)
