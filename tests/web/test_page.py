"""The page, used as a person would, in headless Chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

import dcasenet.onnx
from dcasenet.live.page import page_server, write_page
from tests.web.conftest import DOG, Page

pytestmark = pytest.mark.slow

Noise = Callable[..., np.ndarray]
Write = Callable[..., Path]


def test_it_says_what_it_runs(page: Page) -> None:
    assert "4 places, 5 sounds, 3 events" in page.text("about")
    assert page.find("microphone").is_enabled()


def test_a_file_is_answered_and_drawn(page: Page) -> None:
    page.show(DOG)
    assert page.text("scene") in ("park", "street", "tram", "office")
    assert len(page.find("bars").find_elements("tag name", "li")) == 5
    assert page.find("player").get_attribute("src").startswith("blob:")
    shades = page.driver.execute_script(
        "const c = document.getElementById('canvas');"
        "return [...c.getContext('2d').getImageData(0, 100, c.width, 1).data]"
    )
    pixels = np.reshape(shades, (-1, 4))[:, :3].sum(axis=1)
    seconds = np.arange(len(pixels)) * 5 / len(pixels)
    assert (
        pixels[seconds < 0.7].mean() > 3 * pixels[seconds > 2].mean()
    )  # it barks, then it is still


def test_a_file_can_be_dropped(page: Page) -> None:
    page.find("chosen").send_keys(str(DOG))
    page.driver.execute_script(
        "const dataTransfer = new DataTransfer(); dataTransfer.items.add(window.chosen.files[0]);"
        "const drop = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true });"
        "document.getElementById('drop').dispatchEvent(drop);"
    )
    page.wait(lambda: page.text("status") == "dog_barking.ogg: 5.0 s, done.")


def test_labels_are_text_and_not_html(page: Page) -> None:
    page.show(DOG)
    assert "<img src=x onerror=alert(1)>" in page.text("bars")
    assert not page.find("bars").find_elements("tag name", "img")


def test_everything_comes_from_where_the_page_is(page: Page, address: str) -> None:
    page.show(DOG)
    names = page.driver.execute_script(
        "return performance.getEntriesByType('resource').map(({ name }) => name)"
    )
    assert len(names) >= 4
    assert all(name.startswith((address, "data:", f"blob:{address}")) for name in names)
    assert page.complaints() == []


def test_the_policy_stops_what_comes_from_elsewhere(page: Page) -> None:
    assert not page.driver.execute_async_script(
        "fetch('https://example.org/').then(() => true, () => false).then(arguments[0])"
    )
    assert "Content Security Policy" in " ".join(page.complaints())


def test_an_event_plays_from_its_onset(page: Page, write_wav: Write, noise: Noise) -> None:
    page.show(write_wav("long.wav", noise(24_000 * 20), 24_000))
    exceptions = pytest.importorskip("selenium.common.exceptions")
    onsets: list[float] = []

    def click_the_last() -> bool:
        rows = page.find("events").find_elements("tag name", "tr")
        assert rows
        try:
            onsets.append(float(rows[-1].text.split(" s")[0].split()[-1]))
            rows[-1].click()
        except exceptions.StaleElementReferenceException:  # the rows were drawn anew in between
            return False
        return True

    page.wait(click_the_last)
    page.wait(lambda: page.find("player").get_property("currentTime") >= onsets[-1])


def test_answers_are_those_of_python(page: Page, tiny_file: Path, tmp_path: Path) -> None:
    barking, source_rate = soundfile.read(DOG, dtype="float32")
    barking = barking[: int(1.4 * source_rate)]
    model = dcasenet.onnx.load(tiny_file, threads=1)
    for name, rate, channels, n_times in (
        ("mono.wav", 24_000, 1, 50),  # more than a window of each task
        ("stereo.wav", 48_000, 2, 10),
        ("stereo.flac", 44_100, 2, 50),
        ("mono.ogg", 16_000, 1, 10),
        ("mono.opus", 48_000, 1, 10),
    ):
        samples = np.tile(soxr.resample(barking, source_rate, rate), n_times)
        file = tmp_path / name
        options = {"format": "OGG", "subtype": "OPUS"} if name.endswith("opus") else {}
        soundfile.write(file, np.stack([samples] * channels, axis=1), rate, **options)
        assert_same(page.answer(file), file, model)


def assert_same(answer: dict[str, Any], file: Path, model: dcasenet.onnx.OnnxSoundModel) -> None:
    analysis = model.analyze(file)
    assert analysis.scene is not None
    assert analysis.tags is not None
    assert analysis.events is not None
    assert answer["duration"] == pytest.approx(analysis.duration, abs=1e-9), file.name
    assert answer["isSure"] == analysis.is_sure
    assert answer["familiarity"] == pytest.approx(analysis.familiarity, abs=1e-3)
    np.testing.assert_allclose(answer["scene"], analysis.scene.values, atol=1e-3)
    np.testing.assert_allclose(answer["tag"], analysis.tags.values, atol=1e-3)
    np.testing.assert_allclose(answer["times"]["scene"], analysis.scene.times, atol=1e-9)
    np.testing.assert_allclose(answer["times"]["tag"], analysis.tags.times, atol=1e-9)
    found = [(e["label"], e["onset"], e["offset"], e["probability"]) for e in answer["events"]]
    assert len(found) == len(analysis.events)
    for event, (label, onset, offset, probability) in zip(analysis.events, found, strict=True):
        assert label == event.label
        assert (onset, offset) == pytest.approx((event.onset, event.offset), abs=1e-6)
        assert probability == pytest.approx(event.probability, abs=1e-3)


def test_one_grid_for_all_tasks_answers_as_python_does(
    browser: Any, serve: Callable[..., Any], one_grid_file: Path, write_wav: Write
) -> None:
    samples, source_rate = soundfile.read(DOG, dtype="float32")
    rate = 24_000
    samples = soxr.resample(samples, source_rate, rate)
    short = write_wav("short.wav", samples[: 2 * rate], rate)
    quiet = np.zeros(20 * rate, np.float32)  # its windows do not count for the place and sounds
    long = write_wav("long.wav", np.concatenate((samples, samples[::-1], quiet, samples)), rate)
    model = dcasenet.onnx.load(one_grid_file, threads=1)
    with serve(one_grid_file) as address:
        page = Page(browser, address).ready()
        for file in (short, long):
            answer = page.answer(file)
            assert answer["events"]
            assert_same(answer, file, model)


def test_what_the_model_is_not_sure_of_is_reported(
    browser: Any, serve: Callable[..., Any], unsure_file: Path, write_wav: Write, noise: Noise
) -> None:
    barking, rate = soundfile.read(DOG, dtype="float32")
    hiss, still = noise(20 * rate), np.zeros(5 * rate, np.float32)
    model = dcasenet.onnx.load(unsure_file, threads=1)
    files = {
        "sure": DOG,
        "half": write_wav("half.wav", np.concatenate((barking, still, hiss)), rate),
        "unsure": write_wav("unsure.wav", hiss, rate),
        "silent": write_wav("silent.wav", np.zeros(8 * rate), rate),
        "brief": write_wav("brief.wav", barking[: rate // 8], rate),
    }
    assert [model.analyze(file).is_sure for file in files.values()] == [True, True, *3 * [False]]
    with serve(unsure_file) as address:
        page = Page(browser, address).ready()
        for file in files.values():
            assert_same(page.answer(file), file, model)
        page.show(files["sure"])
        assert page.text("sure").endswith("%")
        assert "not sure" not in page.text("sure")
        page.show(files["unsure"])
        assert page.text("sure").endswith(", not sure")
        page.show(files["brief"])
        assert page.text("none") == "None: the model is not sure about this recording."


def test_the_shipped_model_answers_a_real_recording_as_python_does(
    browser: Any, serve: Callable[..., Any], tmp_path: Path
) -> None:
    exported = tmp_path / "model.onnx"
    exported.write_bytes(dcasenet.load(runtime="onnx").content())
    with serve(exported) as address:
        page = Page(browser, address).ready()
        answer = page.answer(DOG)
        assert answer["events"]
        assert_same(answer, DOG, dcasenet.onnx.load(exported, threads=1))


def test_a_long_file_does_not_freeze_the_page(page: Page, write_wav: Write, noise: Noise) -> None:
    file = write_wav("long.wav", np.tile(noise(24_000 * 60), 3), 24_000)
    page.driver.execute_script(
        "window.gaps = []; let last = performance.now();"
        "setInterval(() => { const now = performance.now();"
        "  window.gaps.push(now - last); last = now; }, 20);"
    )
    page.choose(file)
    page.wait(lambda: " of 3:00" in page.text("status"))
    page.wait(lambda: page.text("status").endswith("done."), 600)
    gaps = np.array(page.driver.execute_script("return window.gaps"))  # milliseconds
    assert gaps[gaps > 300].sum() < 0.1 * gaps.sum()


def test_stop_gives_the_answer_so_far(page: Page, write_wav: Write, noise: Noise) -> None:
    page.choose(write_wav("long.wav", np.tile(noise(24_000 * 60), 10), 24_000))
    page.wait(lambda: "of 10:00" in page.text("status"))
    page.find("stop").click()
    page.wait(lambda: page.text("status").endswith("done."))
    assert page.text("scene")


def test_another_file_takes_the_place_of_one_that_is_under_way(
    page: Page, write_wav: Write, noise: Noise
) -> None:
    page.choose(write_wav("long.wav", np.tile(noise(24_000 * 60), 10), 24_000))
    page.wait(lambda: "of 10:00" in page.text("status"))
    page.show(DOG)
    assert page.text("status") == "dog_barking.ogg: 5.0 s, done."


def test_what_cannot_be_answered_is_reported_and_the_next_file_is_answered(
    page: Page, tmp_path: Path
) -> None:
    for name, content, message in (
        ("empty.wav", b"", "empty.wav is not a recording"),
        ("notes.txt", b"not sound", "notes.txt is not a recording"),
        ("cut.ogg", DOG.read_bytes()[:60], "cut.ogg"),
    ):
        (tmp_path / name).write_bytes(content)
        page.show(tmp_path / name)
        assert message in page.text("problem")
        assert page.text("status") == "Ready."
        page.show(DOG)
        assert page.text("problem") == ""


def test_the_microphone_gives_live_bars_and_each_event_once(
    open_browser: Callable[..., Any], address: str, write_wav: Write, noise: Noise
) -> None:
    sound = write_wav("microphone.wav", noise(48_000 * 60), 48_000)
    driver = open_browser(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
    )
    page = Page(driver, address).ready()
    page.find("microphone").click()
    page.wait(lambda: page.text("when") == "Now" and page.text("bars"))
    page.wait(lambda: page.find("events").find_elements("class name", "is-early"))
    time.sleep(3)
    page.find("stop").click()
    page.wait(lambda: page.text("status").endswith("done."))
    assert not page.find("events").find_elements("class name", "is-early")
    rows = [row.text for row in page.find("events").find_elements("tag name", "tr")]
    assert rows
    assert len(rows) == len(set(rows))
    assert page.find("microphone").is_enabled()


def test_no_microphone_is_reported(open_browser: Callable[..., Any], address: str) -> None:
    page = Page(open_browser("--deny-permission-prompts"), address).ready()
    page.find("microphone").click()
    page.wait(lambda: page.text("problem"))
    assert "microphone" in page.text("problem")


@pytest.mark.parametrize("feature", ["DecompressionStream", "OffscreenCanvas"])
def test_a_missing_feature_is_reported(browser: Any, address: str, feature: str) -> None:
    added = browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": f"delete window.{feature};"}
    )
    try:
        page = Page(browser, address)
        page.wait(lambda: page.text("problem"))
        assert f"lacks {feature}" in page.text("problem")
        assert not page.find("file").is_enabled()
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_without_webcodecs_the_page_decodes_whole_files(
    browser: Any, tiny_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    write_page(tiny_file.read_bytes(), folder)
    worker = (folder / "worker.js").read_text("utf-8")
    (folder / "worker.js").write_text(worker + "\ndelete self.AudioDecoder;\n", "utf-8")
    with page_server("127.0.0.1", 0, tiny_file.read_bytes(), folder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page = Page(browser, f"http://127.0.0.1:{server.server_address[1]}/").ready()
        page.show(DOG)
        server.shutdown()
    assert page.text("problem") == ""
    assert page.text("scene")


def test_a_page_that_is_not_secure_says_why_it_has_no_microphone(
    browser: Any, serve: Callable[..., Any], tiny_file: Path
) -> None:
    if shutil.which("hostname") is None:
        pytest.skip("needs the command hostname, to know an address that is not localhost")
    with serve(tiny_file, "--host", "0.0.0.0") as address:
        page = Page(browser, address.replace("0.0.0.0", _own_address())).ready()
        assert not page.find("microphone").is_enabled()
        assert "https" in page.text("about")
        assert "1 thread" in page.text("about")
        page.show(DOG)
        assert page.text("scene")


def _own_address() -> str:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("needs a network interface besides localhost")
        return str(probe.getsockname()[0])
