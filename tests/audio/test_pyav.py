"""Formats that libsndfile does not decode: PyAV does, or the error says what to type."""

from __future__ import annotations

import base64
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dcasenet.audio.decoder import decode
from dcasenet.errors import AudioError
from tests.fixtures.recordings import SECONDS, encode, encode_by_av, signal

av = pytest.importorskip("av", reason="the optional PyAV makes these files")

# Container as FFmpeg names it, codec, its rate, and what the error calls the two.
FORMATS = [
    ("ipod", "aac", 16_000, "AAC in MPEG-4"),
    ("mp4", "libmp3lame", 44_100, "AAC in MPEG-4"),  # both are called mp4a
    ("mp4", "alac", 44_100, "ALAC in MPEG-4"),
    ("mp4", "libopus", 48_000, "Opus in MPEG-4"),
    ("webm", "libopus", 48_000, "Opus in Matroska or WebM"),
    ("matroska", "flac", 44_100, "FLAC in Matroska or WebM"),
    ("ogg", "flac", 16_000, "FLAC in Ogg"),
    ("adts", "aac", 44_100, "AAC in ADTS"),
    ("asf", "wmav2", 44_100, "Windows Media"),
    ("wv", "wavpack", 44_100, "WavPack"),
    ("ac3", "ac3", 48_000, "AC-3"),
    ("wav", "wmav2", 44_100, "WMA in WAV"),
    ("avi", "libmp3lame", 44_100, "AVI"),
]
# Half a second of 440 Hz, by speexenc --quality 1, as there is no encoder in PyAV.
SPEEX = base64.b64decode(
    "T2dnUwACAAAAAAAAAADBbSk2AAAAACLRht8BUFNwZWV4ICAgMS4yLjEAAAAAAAAAAAAAAAAAAAABAAAAUAAAAEAfAA"
    "AAAAAABAAAAAEAAAD/////oAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAT2dnUwAAAAAAAAAAAADBbSk2AQAAALGsbBMB"
    "IBgAAABFbmNvZGVkIHdpdGggU3BlZXggMS4yLjEAAAAAT2dnUwAEoA8AAAAAAADBbSk2AgAAACw2USwaCgoKCgoKCg"
    "oKCgoKCgoKCgoKCgoKCgoKCgpAVIgG7ZynCFWsQFSIB2ZwASnCEEBUiAdmqxwASnBAVIgHZoQqxwASQFSIB2acIQqx"
    "wEBUiAdmBKcIQqxAVIgHZnABKcIQQFSIB2arHABKcEBUiAdmhCrHABJAVIgHZpwhCrHAQFSIB2YEpwhCrEBUiAdmcA"
    "EpwhBAVIgHZqscAEpwQFSIB2aEKscAEkBUiAdmnCEKscBAVIgHZgSnCEKsQFSIB2ZwASnCEEBUiAdmqxwASnBAVIgH"
    "ZoQqxwASQFSIB2acIQqxwEBUiAdmBKcIQqxAVIgHZnABKcIQQFSIB2arHABKcEBUiAdmhCrHABJAVIgHZpwhCrHAQE"
    "SJ1Db3xmqFjg=="
)
IDS = [f"{container}-{codec}" for container, codec, *_ in FORMATS]


def make(container: str, codec: str, rate: int, n_channels: int = 1) -> bytes:
    """5 s of the signal, by FFmpeg."""
    samples = np.tile(signal(SECONDS * rate, rate), (n_channels, 1))
    return encode_by_av(samples, container, codec, rate)


def test_joined_files_are_decoded_or_reported() -> None:
    m4a = make("ipod", "aac", 16_000)
    one, rate, _ = decode(m4a, "a.m4a")
    for joined in (m4a * 3, b"".join([m4a, make("mp4", "alac", 44_100), m4a])):
        samples, _, warnings = decode(joined, "a.m4a")
        assert abs(samples.shape[1] - 3 * one.shape[1]) < 0.1 * rate
        assert warnings == ()
    caf = make("caf", "alac", 48_000)
    assert decode(caf, "a.caf")[2] == ()
    (warning,) = decode(caf * 2, "a.caf")[2]
    assert warning.endswith("bytes, which may hold more sound, are left out.")


def test_other_streams_of_sound_are_counted() -> None:
    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as output:
        tracks = [output.add_stream("aac", rate=48_000, layout="mono") for _ in range(3)]
        for track in tracks:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "f4"), "fltp", "mono")
            frame.sample_rate, frame.pts = 48_000, 0
            output.mux(track.encode(frame))
            output.mux(track.encode(None))
    warnings = decode(stream.getvalue(), "a.mkv")[2]
    assert "a.mkv: 2 more streams of sound run along and are left out." in warnings


@pytest.fixture(autouse=True)
def nothing_is_reported(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    yield
    assert capfd.readouterr().err == ""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("container", "codec", "rate", "_name"), FORMATS, ids=IDS)
def test_it_is_decoded(container: str, codec: str, rate: int, _name: str) -> None:
    samples, found_rate, warnings = decode(make(container, codec, rate), "a.m4a")
    assert (found_rate, warnings) == (rate, ())
    assert abs(samples.shape[1] / rate - SECONDS) < 0.1
    # The same sound, but for the codec's delay and noise: as loud, second by second.
    expected = signal(SECONDS * rate, rate)
    for second in range(SECONDS - 1):
        part = slice(second * rate, (second + 1) * rate)
        assert np.std(samples[0, part]) == pytest.approx(np.std(expected[part]), rel=0.3)


@pytest.mark.parametrize(("container", "codec", "rate", "name"), FORMATS, ids=IDS)
def test_without_pyav_the_error_names_the_codec_and_the_command(
    container: str, codec: str, rate: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make(container, codec, rate)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError) as caught:
        decode(data, "phone.m4a")
    assert str(caught.value) == (
        f"phone.m4a cannot be read here. It is {name}, which needs PyAV. "
        "Type: pip install 'dcasenet[av]'"
    )


def test_speex_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, rate, warnings = decode(SPEEX, "a.spx")
    assert (rate, samples.shape, warnings) == (8_000, (1, 4_160), ())
    spectrum = np.abs(np.fft.rfft(samples[0, 1_000:3_000]))
    assert spectrum.argmax() * 4 == 440
    assert decode(SPEEX + SPEEX, "a.spx")[0].shape == (1, 8_320)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match="It is Speex in Ogg, which needs PyAV"):
        decode(SPEEX, "a.spx")


def test_channels_stay_apart() -> None:
    samples, rate, _ = decode(make("mp4", "alac", 44_100, n_channels=2), "a.m4a")
    assert samples.shape == (2, SECONDS * rate)
    np.testing.assert_array_equal(samples[0], samples[1])


def test_a_path_is_decoded_too(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(make("ipod", "aac", 16_000))
    assert decode(path, str(path))[0].shape == (1, SECONDS * 16_000)


def test_what_is_truncated_is_decoded_with_a_warning() -> None:
    data = make("webm", "libopus", 48_000)
    samples, rate, (warning,) = decode(data[: len(data) // 2], "a.webm")
    assert 1 < samples.shape[1] / rate < 4
    assert "truncated" in warning
    data = make("ipod", "aac", 16_000)  # what says where all is comes at the end
    with pytest.raises(AudioError, match=r"a\.m4a cannot be read as audio: "):
        decode(data[: len(data) // 2], "a.m4a")


def test_damage_inside_is_reported() -> None:
    data = bytearray(make("ipod", "aac", 16_000))
    rng = np.random.default_rng(0)
    middle = len(data) // 3
    data[middle : middle + 2_000] = rng.bytes(2_000)
    assert any("damaged inside" in warning for warning in decode(bytes(data), "a.m4a")[2])


def test_pictures_without_sound_are_refused() -> None:
    stream = io.BytesIO()
    with av.open(stream, "w", format="matroska") as output:
        track = output.add_stream("mjpeg", rate=5)
        track.width, track.height, track.pix_fmt = 32, 32, "yuvj420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    with pytest.raises(AudioError, match="It has no sound"):
        decode(stream.getvalue(), "a.mkv")


def test_no_other_file_is_opened_for_it(tmp_path: Path) -> None:
    """A list of files is not told by its beginning, and so is never given to FFmpeg."""
    target = tmp_path / "secret.wav"
    target.write_bytes(encode("WAV", "PCM_16"))
    for text in (
        f"#EXTM3U\n#EXTINF:5,\n{target}\n",
        f"ffconcat version 1.0\nfile {target}\n",
        f"v=0\nc=IN IP4 127.0.0.1\nm=audio {target}\n",
    ):
        with pytest.raises(AudioError, match="cannot be read as audio"):
            decode(text.encode(), "a.m3u8")


def test_mp3_in_wav_is_decoded_by_its_frames() -> None:
    data = make("wav", "libmp3lame", 44_100)
    samples, rate, warnings = decode(data, "a.wav")
    assert (rate, warnings) == (44_100, ())
    assert abs(samples.shape[1] / rate - SECONDS) < 0.1
    damaged = bytearray(data)
    del damaged[30_000:31_000]
    assert any("inside" in warning for warning in decode(bytes(damaged), "a.wav")[2])
