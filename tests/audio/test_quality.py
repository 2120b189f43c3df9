"""What is doubtful about a recording: each finding, and what is no reason for one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

import dcasenet
from dcasenet.audio.check import check
from dcasenet.audio.quality import Meter
from dcasenet.errors import AudioError
from tests.fixtures.recordings import encode

RATE = 44_100
N = 2 * RATE


def noise(seed: int = 0, n_samples: int = N, level: float = 0.1) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).standard_normal(n_samples) * level
    return values.astype(np.float32)


def kinds(samples: NDArray[np.floating], rate: int = RATE) -> list[str]:
    return [finding.kind for finding in check(np.asarray(samples), rate).findings]


TIME = np.arange(N) / RATE
LOW = np.sin(2 * np.pi * 60 * TIME)
INVERTED = np.stack([noise(), -noise()])


@pytest.mark.parametrize(
    ("samples", "rate", "expected"),
    [
        (noise(), RATE, []),
        (noise(level=1e-3), RATE, []),
        (np.stack([noise(0), noise(1)]), RATE, []),
        (np.stack([noise(0), 0 * noise(0)]), RATE, ["silence"]),
        (np.stack([noise(0), 1e-3 * noise(1)]), RATE, []),
        (np.tile(noise(), (8, 1)), RATE, []),
        (np.tile(noise(), (9, 1)), RATE, ["channels"]),
        (noise() + 0.1, RATE, ["dc"]),
        (noise() + 0.01, RATE, []),
        (np.zeros(N), RATE, ["silence"]),
        (np.full(N, 0.5), RATE, ["silence"]),
        (np.full(N, 1e-38), RATE, ["silence"]),
        (noise(level=1e-5), RATE, ["silence"]),
        (np.eye(1, N, 500)[0], RATE, []),
        (noise(n_samples=RATE // 20), RATE, ["length"]),
        (noise(n_samples=RATE // 10), RATE, []),
        (np.clip(noise(level=1.0), -1, 1), RATE, ["clipping"]),
        (np.clip(2 * LOW, -1, 1), RATE, ["clipping"]),
        (np.clip(1.1 * LOW, -1, 1), RATE, ["clipping"]),
        (LOW, RATE, []),  # the peaks are flat, and nothing is clipped
        (np.round(LOW * 32_767).astype(np.int16), RATE, []),
        (np.sign(np.sin(2 * np.pi * 100 * TIME)), RATE, ["clipping"]),
        (noise(level=3.0), RATE, ["level"]),
        (noise(n_samples=8_000), 8_000, ["bandwidth"]),
        (soxr.resample(noise(n_samples=16_000), 8_000, RATE), RATE, ["bandwidth"]),
        (soxr.resample(noise(n_samples=32_000), 16_000, RATE), RATE, []),
        (INVERTED, RATE, ["antiphase"]),
        (INVERTED * [[1.0], [0.9]], RATE, ["antiphase"]),
        (INVERTED * [[1.0], [0.5]], RATE, []),
    ],
)
def test_findings(samples: NDArray[np.floating], rate: int, expected: list[str]) -> None:
    assert kinds(samples, rate) == expected


@pytest.mark.parametrize("size", [1, 7, 4_096, 10_000, N])
def test_findings_do_not_depend_on_the_blocks(size: int) -> None:
    samples = np.clip(np.stack([9 * noise(0), 9 * noise(1)]) + np.float32(0.1), -1, 1)
    samples = samples[:, : 20_000 if size < 10 else N]
    whole, parts = Meter(RATE, 2), Meter(RATE, 2)
    whole.add(samples)
    for start in range(0, samples.shape[1], size):
        parts.add(samples[:, start : start + size])
    assert parts.findings("a") == whole.findings("a")
    assert parts.clipped == whole.clipped > 0
    assert parts.bandwidth == whole.bandwidth
    assert parts.rms == pytest.approx(whole.rms, rel=1e-4)


def test_a_report_says_what_was_measured() -> None:
    report = check(np.stack([noise(), noise(1) + np.float32(0.1)]), RATE)
    assert (report.source, report.duration, report.sample_rate) == ("<array>", 2.0, RATE)
    assert report.n_channels == 2
    assert report.rms == pytest.approx(np.sqrt((0.1**2 + 0.1**2 + 0.1**2) / 2), rel=0.02)
    assert report.offset == pytest.approx(0.1, abs=0.002)
    assert report.bandwidth == RATE / 2
    assert not report.is_ok
    assert json.loads(report.to_json())["findings"][0]["kind"] == "dc"
    assert str(report).splitlines()[1].startswith("  dc: <array>: the mean is 0.1 where 0 is")


def test_silence_and_what_is_nearly_silent() -> None:
    assert check(1e-5 * noise(), RATE).warnings[0].startswith("<array>: it is very quiet: nothing")
    assert check(np.stack([0 * noise(), noise(), 0 * noise()]), RATE).warnings == (
        "<array>: there is no sound in channels 0, 2 of 3; averaged, that only lowers the level. "
        "Choose with channels=1, the first being 0.",
    )


def test_a_report_holds_what_the_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encode("WAV", "PCM_16")[:100_000])
    report = dcasenet.check(path)
    assert [finding.kind for finding in report.findings] == ["file"]
    assert report.warnings[0].endswith("the file is truncated.")


def test_strict_makes_any_finding_an_error() -> None:
    assert check(noise(), RATE, strict=True).is_ok
    with pytest.raises(AudioError, match=r"it is silent: all samples are 0\. strict=True makes"):
        check(np.zeros(N), RATE, strict=True)


def test_what_cannot_be_used_cannot_be_checked_either() -> None:
    with pytest.raises(AudioError, match="holds 1 NaN"):
        check(np.array([0.0, np.nan]), RATE)
    with pytest.raises(AudioError, match=r"is 2\.0 s long or longer, and the limit is 1\.0 s"):
        check(noise(), RATE, max_duration=1.0)


def test_measuring_costs_little() -> None:
    samples = np.tile(noise(), (2, 30))
    began = time.process_time()
    meter = Meter(RATE, 2)
    for start in range(0, samples.shape[1], 2**19):
        meter.add(samples[:, start : start + 2**19])
    assert time.process_time() - began < 1.0  # of a minute
