"""Where live sound comes from, without any of it being there."""

from __future__ import annotations

import io
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dcasenet.errors import AudioError
from dcasenet.live import Microphone, PacedFile, StandardInput
from dcasenet.live.wav_stream import ENCODINGS, SampleFormat

Write = Callable[..., Path]


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time, as pipes do."""

    def __init__(self, content: bytes, most: int = 777) -> None:
        self._stream, self._most = io.BytesIO(content), most

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, self._most) if size >= 0 else self._most)


def joined(source: Any) -> np.ndarray:
    with source:
        return np.concatenate(list(source), axis=1)


# Standard input


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
def test_wav_of_every_kind(subtype: str, form: str) -> None:
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.9, 0.9, (3_333, 2))
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format=form, subtype=subtype)
    source = StandardInput(Trickle(file.getvalue()))
    assert source.sample_rate == 16_000
    seen = joined(source)
    if seen.dtype.kind != "f":
        offset = 128 if seen.dtype == np.uint8 else 0
        seen = (seen.astype(float) - offset) / 2 ** (8 * seen.dtype.itemsize - 1)
    np.testing.assert_allclose(seen.T, samples, atol=2**-7)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_lengths_that_whoever_writes_to_a_pipe_cannot_know(size: int) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 8_000, 0, "NONE", ""))
        writer.writeframes(np.arange(4_000, dtype="<i2").tobytes())
    content = bytearray(file.getvalue())
    content[4:8] = content[40:44] = size.to_bytes(4, "little")
    np.testing.assert_array_equal(
        joined(StandardInput(Trickle(bytes(content)))), [np.arange(4_000)]
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_samples_without_a_header(encoding: str) -> None:
    raw = SampleFormat(8_000, 2, encoding)
    content = np.random.default_rng(0).bytes(raw.frame_size * 1_234)
    seen = joined(StandardInput(Trickle(content + b"\0"), raw))  # half a frame at the end
    assert seen.shape == (2, 1_234)
    assert seen.dtype.kind == {"u": "u", "s": "i", "f": "f"}[encoding[0]]


def test_a_slow_model_gets_longer_blocks() -> None:
    now = iter([0.0, 0.5, 0.5, 0.51, 0.51, 0.91, 0.91, 0.92, 0.92, 0.93])
    source = StandardInput(
        io.BytesIO(bytes(2 * 12_000)), SampleFormat(10_000), clock=lambda: next(now)
    )
    assert [block.shape[1] for block in source] == [1_000, 5_000, 1_000, 4_000, 1_000]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Standard input is empty"),
        (b"ID3\x03 an MP3", "does not begin with a WAV header.*--rate 48000"),
        (b"RIFF\0\0\0\0AVI LIST", "is not one.*ffmpeg"),
        (b"RIFF\0\0\0\0WAVE", "is not one"),
        (b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff", "is not one"),
        (b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0\0\0", "header of 2 bytes"),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x55\0\x01\0\x80\xbb\0\0\0\0\0\0\0\0\0\0data",
            "format 0x0055.*pcm_s16le",
        ),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x0a\0\0\0\0\0\0\0\x02\0\x10\0data\0\0\0\0",
            "10 Hz",
        ),
    ],
)
def test_what_is_no_sound(content: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        StandardInput(Trickle(content))


# A file


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_a_file_comes_at_its_own_speed(write_wav: Write) -> None:
    clock = Clock()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 10_500).astype(np.float32)
    file = write_wav("a.wav", samples, 10_000, subtype="FLOAT")
    with PacedFile(file, lambda: clock.now, clock.sleep) as source:
        blocks, times = [], []
        for block in source:
            blocks.append(block)
            times.append(clock.now)
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1)[0], samples)
    np.testing.assert_allclose(times, [*np.arange(1, 11) / 10, 1.05])


def test_a_file_does_not_wait_for_a_slow_model(write_wav: Write) -> None:
    clock = Clock()
    file = write_wav("a.wav", np.zeros(20_000), 10_000)
    sizes = []
    with PacedFile(file, lambda: clock.now, clock.sleep) as source:
        for block in source:
            sizes.append(block.shape[1])
            clock.now += 0.45
    assert sizes[:4] == [1_000, 4_500, 4_500, 4_500]
    assert sum(sizes) == 20_000
    assert clock.now <= 2.0 + 2 * 0.45


def test_a_file_says_what_is_odd_about_it(write_wav: Write) -> None:
    file = write_wav("loud.wav", np.full(1_000, 3.0), 8_000, subtype="FLOAT")
    with PacedFile(file, sleep=lambda _: None) as source:
        list(source)
    assert "peak is 3" in source.warnings[0]


# The microphone


class FakeSounddevice:
    """As much of sounddevice as is used, with inputs of our choice."""

    class PortAudioError(Exception):
        pass

    def __init__(self, *inputs: str, refuses: bool = False) -> None:
        self.inputs, self.refuses = inputs, refuses
        self.callback: Any = None
        self.is_open = False

    def query_devices(self, device: Any = None, kind: str | None = None) -> Any:
        every = [
            {
                "name": name,
                "index": index,
                "max_input_channels": 4,
                "default_samplerate": 44_100.0,
            }
            for index, name in enumerate(self.inputs)
        ]
        if kind is None:
            return [{"name": "speakers", "max_input_channels": 0}, *every]
        if device is None and every:
            return every[0]
        for one in every:
            if device in (one["name"], one["index"]):
                return one
        raise ValueError(f"No input device matching {device!r}")

    def InputStream(self, *, callback: Any, channels: int, blocksize: int, **_: Any) -> Any:
        if self.refuses:
            raise self.PortAudioError("Device unavailable")
        self.callback, self.shape = callback, (blocksize, channels)
        return self

    def __enter__(self) -> None:
        self.is_open = True

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def sound(self, value: float) -> None:
        self.callback(np.full(self.shape, value, np.float32), self.shape[0], None, None)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    def put(module: Any) -> Any:
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return module

    return put


def test_the_microphone_gives_what_waits_as_one_block(install: Callable[[Any], Any]) -> None:
    fake = install(FakeSounddevice("built-in", "USB"))
    with Microphone() as microphone:
        assert (microphone.name, microphone.sample_rate, fake.is_open) == ("built-in", 44_100, True)
        blocks = iter(microphone)
        fake.sound(0.1)
        assert next(blocks).shape == (2, 4_410)
        fake.sound(0.2)
        fake.sound(0.3)
        both = next(blocks)
        assert both.shape == (2, 8_820)
        np.testing.assert_allclose(both[0, [0, -1]], [0.2, 0.3])
    assert not fake.is_open
    assert microphone.warnings == ()


def test_a_model_that_is_too_slow_leaves_the_oldest_out(install: Callable[[Any], Any]) -> None:
    fake = install(FakeSounddevice("built-in"))
    with Microphone() as microphone:
        for number in range(350):
            fake.sound(number)
        seen = next(iter(microphone))
    assert seen[0, 0] == 50
    assert seen[0, -1] == 349
    assert "5.0 s were dropped" in microphone.warnings[0]


@pytest.mark.parametrize("device", ["USB", "1", 1])
def test_an_input_by_name_or_number(install: Callable[[Any], Any], device: Any) -> None:
    install(FakeSounddevice("built-in", "USB"))
    assert Microphone(device).name == "USB"


def test_no_such_input(install: Callable[[Any], Any]) -> None:
    install(FakeSounddevice("built-in", "USB"))
    with pytest.raises(AudioError, match=r"No input is 'USC'\. There are 1: built-in; 2: USB\."):
        Microphone("USC")
    install(FakeSounddevice())
    with pytest.raises(AudioError, match=r"No microphone was found\. This system has no input\."):
        Microphone()


def test_an_input_that_another_program_has(install: Callable[[Any], Any]) -> None:
    install(FakeSounddevice("built-in", refuses=True))
    with (
        pytest.raises(AudioError, match="built-in cannot be used: Device unavailable"),
        Microphone(),
    ):
        pass


def test_an_unplugged_microphone(
    install: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(FakeSounddevice("USB"))
    monkeypatch.setattr("dcasenet.live.sources.SILENT_SECONDS", 0.05)
    with Microphone() as microphone, pytest.raises(AudioError, match="USB gave no samples for"):
        next(iter(microphone))


def test_what_is_not_installed_is_reported(
    install: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(None)
    with pytest.raises(ImportError, match=r"pip install 'dcasenet\[live\]'"):
        Microphone()
    monkeypatch.delitem(sys.modules, "sounddevice")

    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(ImportError, match="sudo apt install libportaudio2"):
        Microphone()


def test_nothing_live_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, dcasenet.live, dcasenet.cli;"
        "print(*{'sounddevice', 'paho', 'http.server', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
