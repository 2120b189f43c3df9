"""Hostile audio by number: the same seed and number make the same case everywhere.

Arrays at valid rates, of every type and many shapes, with values as they should not be; and files
of every container, intact ones changed byte by byte, cut, joined, and with sizes that lie.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import soundfile

try:
    import av
except ImportError:  # its containers are left out
    av = None

Random = np.random.Generator

# libsndfile's containers → a kind of samples in each that is worth its own mutations.
CONTAINERS = {
    "WAV": ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"),
    "WAVEX": ("PCM_16", "DOUBLE"), "RF64": ("PCM_16", "FLOAT"), "W64": ("PCM_16", "FLOAT"),
    "AIFF": ("PCM_16", "FLOAT", "IMA_ADPCM"), "AU": ("PCM_16", "ULAW", "FLOAT"),
    "CAF": ("PCM_16", "ALAC_16", "FLOAT"), "VOC": ("PCM_U8", "PCM_16"),
    "NIST": ("PCM_16", "ULAW"), "FLAC": ("PCM_16", "PCM_24"), "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",), "AVR": ("PCM_16",), "IRCAM": ("FLOAT",), "PAF": ("PCM_16",),
    "SVX": ("PCM_16",), "PVF": ("PCM_16",), "MAT4": ("DOUBLE",), "MAT5": ("DOUBLE",),
    "HTK": ("PCM_16",), "SDS": ("PCM_16",), "MPC2K": ("PCM_16",), "WVE": ("ALAW",),
    "XI": ("DPCM_16",),
}  # fmt: skip
# FFmpeg's containers → codec.
FOREIGN = {
    "ipod": "aac", "webm": "libopus", "matroska": "flac", "adts": "aac", "asf": "wmav2",
    "wv": "wavpack", "ac3": "ac3", "ogg": "flac", "mov": "alac",
}  # fmt: skip
# Containers that know one rate, or one channel.
RATES = {"OGG/OPUS": 48_000, "WVE/ALAW": 8_000, "XI/DPCM_16": 44_100}
MONO = {"WVE/ALAW", "XI/DPCM_16", "WAV/GSM610", "SDS/PCM_16", "HTK/PCM_16", "SVX/PCM_16"}
MONO |= {"AIFF/IMA_ADPCM"}
# Beginnings that decide what a reader makes of a file.
MAGIC = (
    b"RIFF", b"RF64", b"FORM", b".snd", b"caff", b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb\x90",
    b"ftyp", b"\x1a\x45\xdf\xa3", b"data", b"fmt ", b"ds64", b"COMM", b"SSND", b"TAG",
)  # fmt: skip
# Of an array, for each 9 channels.
MOST_SECONDS = 3
SIZES = (0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1)


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes:
        kind: What it is, for the table.
        what: How it was made, for whoever looks into a failure.
        audio: What the model is given.
        sample_rate: Of an array, in Hz.
        options: Of the verb.
    """

    kind: str
    what: str
    audio: Any
    sample_rate: int | None
    options: dict[str, Any]


def make(seed: int, number: int) -> Case:
    """Make a case."""
    random = np.random.default_rng([seed, number])
    if random.random() < 0.3:
        return _array(random)
    return _file(random)


# Arrays


def _array(random: Random) -> Case:
    n_samples = int(random.choice([1, 2, 3, 10, 100, 1_025, 1_026, 5_000, 20_000]))
    n_channels = int(random.choice([0, 0, 0, 1, 2, 2, 4, 9, 64]))
    rate = int(random.choice([1_000, 8_000, 11_025, 16_000, 24_000, 44_100, 48_000, 384_000]))
    if random.random() < 0.2:
        rate = int(random.integers(1_000, 384_001))
    # So much sound at most: the network's work, not the reader's, would be longer.
    n_samples = min(n_samples, MOST_SECONDS * rate // max(1, n_channels // 9))
    shape = (n_channels, n_samples) if n_channels else (n_samples,)
    make_values = VALUES[int(random.integers(len(VALUES)))]
    values = make_values(random, shape)
    dtype = str(random.choice(["f4", "f4", "f8", "f2", ">f4", "i2", "u1", "i1", "i4", ">i2", "u2"]))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if dtype.strip("><")[0] in "iu":
            limits = np.iinfo(np.dtype(dtype))
            values = np.nan_to_num(values) * limits.max
            array = np.clip(values, limits.min, limits.max).astype(dtype)
        else:
            array = values.astype(dtype)
    options: dict[str, Any] = {}
    if n_channels and random.random() < 0.3:
        options["channels"] = random.choice(["each", "mix"]).item()
    if n_channels > 1 and random.random() < 0.2:
        options["channels"] = int(random.integers(0, n_channels + 1))
    if n_channels and random.random() < 0.2:
        array, options["channels_last"] = np.ascontiguousarray(array.T), True
    if random.random() < 0.1:
        array = array[..., ::-1]
    what = f"{make_values.__name__.strip('_')} {dtype}{shape} at {rate} Hz"
    return Case("arrays", what, array, rate, options)


def _noise(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    return random.standard_normal(shape) * 10.0 ** random.uniform(-12, 1)


def _constant(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, random.choice([0, 1, -1, 1e-45, 1e-38, 1e-20, 1e12, -1e12, 1e13, 1e300]))


def _tone(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.sin(np.arange(shape[-1]) * random.uniform(0, np.pi)), shape) * 0.9


def _inverted(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    values = np.broadcast_to(random.standard_normal(shape[-1]) * 0.2, shape).copy()
    if values.ndim > 1:
        values[1::2] *= -1
    return values


def _with_a_bad_sample(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    values = random.standard_normal(shape) * 0.1
    values.flat[int(random.integers(values.size))] = random.choice([np.nan, np.inf, -np.inf, 1e20])
    return values


def _clipped(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    return np.clip(random.standard_normal(shape) * 3, -1, 1)


def _impulse(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    values = np.zeros(shape)
    values.flat[int(random.integers(values.size))] = random.choice([1, -1, 1e-6, 1e6])
    return values


def _digits(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Any 32 bits, read as floats."""
    bits = random.integers(0, 2**32, shape, dtype=np.uint32)
    return np.nan_to_num(bits.view(np.float32), nan=0.0, posinf=1.0, neginf=-1.0).astype(float)


VALUES: list[Callable[[Random, tuple[int, ...]], np.ndarray]] = [
    _noise, _noise, _constant, _tone, _inverted, _with_a_bad_sample, _clipped, _impulse, _digits,
]  # fmt: skip


# Files


@cache
def _intact() -> dict[str, bytes]:
    """A short file of each container and codec."""
    files = {}
    time = np.arange(12_000)
    sound = 0.3 * np.sin(time / 9) + np.random.default_rng(0).uniform(-0.05, 0.05, len(time))
    stereo = np.stack([sound, sound[::-1]], axis=1)
    for container, subtypes in CONTAINERS.items():
        for subtype in subtypes:
            name = f"{container}/{subtype}"
            stream, samples = io.BytesIO(), sound if name in MONO else stereo
            rate = RATES.get(name, 24_000)
            soundfile.write(stream, samples, rate, subtype, format=container)
            files[name] = stream.getvalue()
    mp3 = files["MP3/MPEG_LAYER_III"]
    files["MP3/bare"] = mp3[mp3.index(mp3[:2], 4) :]
    if av is not None:
        files |= {f"av/{name}": _foreign(name, codec, sound) for name, codec in FOREIGN.items()}
    return files


def _foreign(container: str, codec: str, sound: np.ndarray) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format=container) as output:
        track = output.add_stream(codec, rate=48_000, layout="mono")
        track.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(sound[None].astype("f4"), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        size = track.codec_context.frame_size or 1_024
        parts = av.AudioResampler(track.codec_context.format, "mono", 48_000, size)
        for source in (frame, None):
            for part in parts.resample(source):
                output.mux(track.encode(part))
        output.mux(track.encode(None))
    return stream.getvalue()


def _file(random: Random) -> Case:
    files = _intact()
    name = sorted(files)[int(random.integers(len(files)))]
    data, steps = bytearray(files[name]), []
    for _ in range(int(random.choice([1, 1, 1, 2, 3, 6]))):
        change = CHANGES[int(random.integers(len(CHANGES)))]
        data = change(random, data)
        steps.append(change.__name__.strip("_"))
    kind = "av" if name.startswith("av/") else name.split("/")[0]
    options = {"channels": "each"} if random.random() < 0.1 else {}
    return Case(kind, f"{name}: {', '.join(steps)}", bytes(data), None, options)


def _place(random: Random, data: bytearray) -> int:
    """A place, one time in two in the header."""
    most = min(len(data), 100) if random.random() < 0.5 else len(data)
    return int(random.integers(max(1, most)))


def _flip(random: Random, data: bytearray) -> bytearray:
    for _ in range(int(random.choice([1, 2, 5, 20, 200]))):
        if data:
            data[_place(random, data)] ^= 1 << int(random.integers(8))
    return data


def _set(random: Random, data: bytearray) -> bytearray:
    for _ in range(int(random.choice([1, 2, 5, 20]))):
        if data:
            data[_place(random, data)] = int(random.choice([0, 1, 127, 128, 254, 255]))
    return data


def _number(random: Random, data: bytearray) -> bytearray:
    """Write a number, of the kind that sizes and counts are."""
    place = _place(random, data)
    order, width = random.choice(["<", ">"]), random.choice(["H", "I", "Q"])
    value = int(random.choice(SIZES)) + int(random.integers(-2, 3))
    most = 256 ** struct.calcsize(width) - 1
    data[place : place + struct.calcsize(width)] = struct.pack(
        order + width, min(max(0, value), most)
    )
    return data


def _cut(random: Random, data: bytearray) -> bytearray:
    return data[: int(random.integers(len(data) + 1))]


def _cut_out(random: Random, data: bytearray) -> bytearray:
    place = _place(random, data)
    del data[place : place + int(random.choice([1, 4, 100, 3_000]))]
    return data


def _overwrite(random: Random, data: bytearray) -> bytearray:
    place, size = _place(random, data), int(random.choice([1, 4, 100, 3_000]))
    filler = (
        random.bytes(size) if random.random() < 0.5 else bytes([random.choice([0, 255])]) * size
    )
    data[place : place + size] = filler
    return data


def _insert(random: Random, data: bytearray) -> bytearray:
    place = _place(random, data)
    magic = MAGIC[int(random.integers(len(MAGIC)))]
    data[place:place] = magic * int(random.choice([1, 1, 2, 500]))
    return data


def _double(random: Random, data: bytearray) -> bytearray:
    return data + data


def _join(random: Random, data: bytearray) -> bytearray:
    files = _intact()
    other = files[sorted(files)[int(random.integers(len(files)))]]
    return data + other if random.random() < 0.7 else bytearray(other) + data


def _swap_start(random: Random, data: bytearray) -> bytearray:
    """Begin as another container does."""
    files = _intact()
    other = files[sorted(files)[int(random.integers(len(files)))]]
    size = int(random.choice([4, 12, 44, 200]))
    data[:size] = other[:size]
    return data


def _append(random: Random, data: bytearray) -> bytearray:
    size = int(random.choice([1, 4, 128, 5_000]))
    return data + (random.bytes(size) if random.random() < 0.5 else bytes(size))


def _leave(random: Random, data: bytearray) -> bytearray:
    return data


CHANGES: list[Callable[[Random, bytearray], bytearray]] = [
    _flip, _flip, _set, _number, _number, _cut, _cut_out, _overwrite, _insert, _double, _join,
    _swap_start, _append, _leave,
]  # fmt: skip
