"""Check the quality of a recording without running a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dcasenet.audio.io import Reader
from dcasenet.audio.preprocess import Downmix
from dcasenet.audio.quality import Finding, refuse_doubtful
from dcasenet.text import json_text, one_line
from dcasenet.types import Audio, check_flags


@dataclass(frozen=True)
class AudioReport:
    """Measurements of a recording, and the problems found in it.

    Attributes:
        source: Name used in messages.
        duration: In seconds.
        sample_rate: In Hz.
        n_channels: Number of channels.
        peak: Highest absolute sample, where full scale is 1.
        rms: Root of the mean square of all samples.
        offset: Mean of the channel whose mean is furthest from 0.
        clipped: Share of the samples that are clipped, 0 to 1.
        bandwidth: Highest frequency of the sound, in Hz: half the rate unless the spectrum ends
            below.
        findings: The problems; empty for a recording without any.
    """

    source: str
    duration: float
    sample_rate: int
    n_channels: int
    peak: float
    rms: float
    offset: float
    clipped: float
    bandwidth: float
    findings: tuple[Finding, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages of the findings, as in the `warnings` of a result."""
        return tuple(finding.message for finding in self.findings)

    @property
    def is_ok(self) -> bool:
        """Whether there are no findings."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)

    def to_json(self, indent: int | None = None) -> str:
        """Return `to_dict` as JSON text, on one line unless `indent` is given."""
        return json_text(self.to_dict(), indent)

    def __str__(self) -> str:
        head = (
            f"{one_line(self.source)}: {self.duration:.2f} s, {self.sample_rate:,} Hz, "
            f"{self.n_channels} channel(s), peak {self.peak:.3f}, rms {self.rms:.4f}"
        )
        return "\n".join([head, *(f"  {f.kind}: {one_line(f.message)}" for f in self.findings)])


def check(
    audio: Audio,
    sample_rate: int | None = None,
    *,
    channels_last: bool = False,
    max_duration: float | None = None,
    strict: bool = False,
) -> AudioReport:
    """Read a recording and report its problems.

    The same problems are in the `warnings` of a result: missing, damaged or left-out sound,
    clipping, an offset (DC), silence, a narrow band (telephone sound), channels that cancel each
    other, less than 0.1 s, more than 8 channels, and peaks far beyond full scale.

    Args:
        audio: Any audio that a model accepts; see `dcasenet.audio.io.read`.
        sample_rate: Rate of an array or tensor in Hz; omit it for files, which state their own.
        channels_last: Whether an array or tensor is (samples, channels).
        max_duration: Longest duration accepted, in seconds; None for any.
        strict: Whether to raise an error if there is a finding.

    Returns:
        The report. Recordings of any length are accepted, since they are read block by block.

    Raises:
        AudioError: The recording cannot be used, or `strict` is set and there is a finding.
        ValueError: `strict` is neither True nor False.

    Example:
        >>> import numpy as np
        >>> report = check(np.zeros(8_000), 8_000)
        >>> [finding.kind for finding in report.findings]
        ['silence']
        >>> report.warnings[0]
        '<array>: it is silent: all samples are 0.'
    """
    check_flags(strict=strict)
    with Reader(
        audio, sample_rate, channels_last=channels_last, max_duration=max_duration
    ) as reader:
        downmix = Downmix(reader.sample_rate, reader.n_channels, source=reader.source)
        for block in reader:
            downmix.push(block)
        downmix.close()
        meter = reader.meter
        report = AudioReport(
            source=reader.source,
            duration=reader.duration,
            sample_rate=reader.sample_rate,
            n_channels=reader.n_channels,
            peak=meter.peak,
            rms=meter.rms,
            offset=meter.offset,
            clipped=meter.clipped,
            bandwidth=meter.bandwidth,
            findings=(*reader.findings(), *downmix.findings(reader.source)),
        )
    if strict:
        refuse_doubtful(report.warnings)
    return report
