"""The headers of MPEG audio frames, and the tag that an encoder writes into the first one."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cache

# Bytes of a tag from its marker on: fields and table of contents, and the encoder's part.
TAG_SIZE = 156

# kbit/s of layers I, II and III of MPEG 1, then of layer I and of layers II and III of MPEG 2.
_BIT_RATES = (
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)


@dataclass(frozen=True)
class FrameFormat:
    """The format that all frames of a stretch have in common, from their headers of 4 bytes.

    Attributes:
        key: MPEG version and layer: the second byte, with the bit for "no checksum" set.
        rate_bits: Bits 2 and 3 of the third byte: the sample rate.
        is_mono: Whether there is one channel.
        sizes: Bytes of a frame for each value of the third byte; 0 if the value is invalid.
    """

    key: int
    rate_bits: int
    is_mono: bool
    sizes: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        row = self.layer - 1 if self.is_mpeg1 else 3 if self.layer == 1 else 4
        sizes = tuple(self._size(third, _BIT_RATES[row]) for third in range(256))
        object.__setattr__(self, "sizes", sizes)

    @classmethod
    def of(cls, head: bytes) -> FrameFormat | None:
        """Parse a header; None if it is not valid."""
        if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
            return None
        is_reserved = head[1] >> 3 & 3 == 1 or head[1] >> 1 & 3 == 0 or head[2] >> 2 & 3 == 3
        if is_reserved or head[2] >> 4 in (0, 15):  # 0 is the free format, not supported
            return None
        return _format(head[1] | 1, head[2] & 0x0C, head[3] >= 0xC0)

    @property
    def layer(self) -> int:
        """1, 2 or 3."""
        return 4 - (self.key >> 1 & 3)

    @property
    def is_mpeg1(self) -> bool:
        """Whether it is MPEG 1, not MPEG 2 or 2.5."""
        return self.key >> 3 & 3 == 3

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return (44_100, 48_000, 32_000)[self.rate_bits >> 2] >> {3: 0, 2: 1, 0: 2}[
            self.key >> 3 & 3
        ]

    @property
    def n_samples(self) -> int:
        """Number of samples in a frame."""
        if self.layer == 1:
            return 384
        return 1152 if self.layer == 2 or self.is_mpeg1 else 576

    @property
    def n_channels(self) -> int:
        """Number of channels, 1 or 2."""
        return 1 if self.is_mono else 2

    @property
    def n_side(self) -> int:
        """Bytes of side information in a frame of layer III."""
        return (17 if self.is_mono else 32) if self.is_mpeg1 else (9 if self.is_mono else 17)

    def starts(self, data: bytes, place: int) -> bool:
        """Return whether a frame of this format begins at `place` in `data`."""
        return (
            place + 4 <= len(data)
            and data[place] == 0xFF
            and data[place + 1] | 1 == self.key
            and self.sizes[data[place + 2]] > 0
            and (data[place + 3] >= 0xC0) is self.is_mono
        )

    @cache  # noqa: B019 - there are few formats, and they live as long as the process
    def blank(self, third: int) -> bytes:
        """Return a silent frame whose third header byte is `third`."""
        head = bytes((0xFF, self.key, third, 0xC0 if self.is_mono else 0))
        return head + bytes(self.sizes[third] - 4)

    def tagged(self, n_frames: int) -> bytes:
        """Return a first frame of layer III with a tag that states the number of frames."""
        frame = bytearray(self.blank((0x90 if self.is_mpeg1 else 0xA0) | self.rate_bits))
        struct.pack_into(">4sII", frame, 4 + self.n_side, b"Xing", 1, n_frames)
        return bytes(frame)

    def _size(self, third: int, bit_rates: tuple[int, ...]) -> int:
        index, padding = third >> 4, third >> 1 & 1
        if third & 0x0C != self.rate_bits or index in (0, 15):
            return 0
        n_bytes = 125 * bit_rates[index - 1] * self.n_samples
        if self.layer == 1:
            return 4 * (n_bytes // 4 // self.sample_rate + padding)
        return n_bytes // self.sample_rate + padding


@cache
def _format(key: int, rate_bits: int, is_mono: bool) -> FrameFormat:
    return FrameFormat(key, rate_bits, is_mono)


@dataclass(frozen=True)
class Tag:
    """The encoder's first frame, which contains no sound but states what follows.

    Attributes:
        frame: The frame.
        marker: Position of the tag in the frame.
        n_frames: Number of frames that follow; None if not stated.
        n_trimmed: Number of padding samples that the encoder added at the start and at the end.
        n_summed: Number of bytes after the frame that the checksum covers; 0 if there is none.
        checksum: Their CRC-16.
    """

    frame: bytes
    marker: int
    n_frames: int | None = None
    n_trimmed: int = 0
    n_summed: int = 0
    checksum: int = 0

    @classmethod
    def of(cls, frame: bytes, n_side: int) -> Tag | None:
        """Parse a frame of layer III; None if it contains no tag."""
        if frame[36:40] == b"VBRI" and len(frame) >= 54:
            return cls(frame, 36, int.from_bytes(frame[50:54], "big"))
        marker = 4 + n_side
        if frame[marker : marker + 4] not in (b"Xing", b"Info") or len(frame) < marker + 12:
            return None
        flags, count = struct.unpack_from(">II", frame, marker + 4)
        n_frames = count if flags & 1 and count else None
        has_all = flags & 15 == 15 and len(frame) >= marker + TAG_SIZE
        if not has_all or not frame[marker + 120]:  # the encoder's name is missing
            return cls(frame, marker, n_frames)
        trims = int.from_bytes(frame[marker + 141 : marker + 144], "big")
        gain, length, checksum = struct.unpack_from(">B2xIH", frame, marker + 145)
        # Programs that change the gain later modify frames but not the checksum.
        n_summed = max(0, length - len(frame)) if checksum and not gain else 0
        return cls(frame, marker, n_frames, (trims >> 12) + (trims & 0xFFF), n_summed, checksum)

    def counting(self, n_frames: int, n_bytes: int) -> bytes:
        """Return the frame with the actual numbers of frames and bytes after it.

        Empty if the tag has no field for them; libsndfile does not read VBRI tags.
        """
        if self.n_frames is None or self.frame[self.marker : self.marker + 4] == b"VBRI":
            return b""
        frame = bytearray(self.frame)
        frame[4 : self.marker] = bytes(self.marker - 4)  # other values would be decoded as sound
        struct.pack_into(">I", frame, self.marker + 8, n_frames)
        if frame[self.marker + 7] & 2:  # libmpg123 reports an error if the size is wrong
            struct.pack_into(">I", frame, self.marker + 12, n_bytes + len(frame))
        return bytes(frame)
