"""Read samples from a stream that cannot seek, and whose header may not state the length."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dcasenet.errors import AudioError

PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
# Most bytes of a chunk before the samples; a longer one means that this is not a WAV header.
LONGEST_CHUNK = 2**20


@dataclass(frozen=True)
class SampleFormat:
    """The format of samples: channels interleaved, little-endian.

    Attributes:
        sample_rate: In Hz.
        n_channels: Number of channels.
        encoding: ``"u8"``, ``"s16"``, ``"s24"``, ``"s32"``, ``"f32"`` or ``"f64"``.
    """

    sample_rate: int
    n_channels: int = 1
    encoding: str = "s16"

    @property
    def frame_size(self) -> int:
        """Bytes of a frame."""
        return self.n_channels * int(self.encoding[1:]) // 8

    def decode(self, frames: bytes) -> NDArray[Any]:
        """Decode complete frames; return an array (channels, samples)."""
        if self.encoding == "s24":
            wide = np.zeros((len(frames) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(frames, np.uint8).reshape(-1, 3)
            samples: NDArray[Any] = wide.reshape(-1).view("<i4")
        else:
            samples = np.frombuffer(frames, _DTYPES[self.encoding])
        channels: NDArray[Any] = samples.reshape(-1, self.n_channels).T
        return channels


_DTYPES = {"u8": "u1", "s16": "<i2", "s32": "<i4", "f32": "<f4", "f64": "<f8"}
_ENCODINGS = {
    (PCM, 8): "u8",
    (PCM, 16): "s16",
    (PCM, 24): "s24",
    (PCM, 32): "s32",
    (FLOAT, 32): "f32",
    (FLOAT, 64): "f64",
}
ENCODINGS = tuple(_ENCODINGS.values())


def read_wav_header(stream: BinaryIO, source: str) -> SampleFormat:
    """Read a WAV header up to the first sample; the four bytes ``RIFF`` have been read.

    The stated length of the samples is ignored, since a program that writes to a pipe does not know
    it.

    Args:
        stream: Stream to read.
        source: Name used in messages.

    Raises:
        AudioError: This is not a WAV header, or the format of the samples is not supported.
    """
    faulty = AudioError(
        f"{source} begins like a WAV file, but is not one. Send it as WAV, such as "
        "ffmpeg -i INPUT -f wav -"
    )
    if read_exactly(stream, 8)[4:] != b"WAVE":
        raise faulty
    described: SampleFormat | None = None
    while len(head := read_exactly(stream, 8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data" and described:
            return described
        if size > LONGEST_CHUNK:
            raise faulty
        content = read_exactly(stream, size + size % 2)
        if name == b"fmt ":
            described = _described(content, source)
    raise faulty


def _described(content: bytes, source: str) -> SampleFormat:
    if len(content) < 16:
        raise AudioError(f"{source} has a WAV header of {len(content)} bytes; 16 are needed.")
    tag, n_channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", content)
    if tag == EXTENSIBLE and len(content) >= 26:
        (tag,) = struct.unpack_from("<H", content, 24)
    if (tag, bits) not in _ENCODINGS or not n_channels:
        raise AudioError(
            f"{source} is WAV with {n_channels} channels of {bits} bits in format {tag:#06x}. "
            "Accepted are integers of 8 to 32 bits and floats of 32 and 64: convert it, "
            "for example with ffmpeg -i INPUT -c:a pcm_s16le -f wav -"
        )
    return SampleFormat(rate, n_channels, _ENCODINGS[tag, bits])


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
