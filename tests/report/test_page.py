"""The page in a browser, used as a person does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dcasenet.report import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(open_browser: Callable[..., Any]) -> Any:
    return open_browser("--autoplay-policy=no-user-gesture-required")


class Page:
    def __init__(self, driver: Any, path: Path, place: str = "") -> None:
        self.driver = driver
        driver.get("about:blank")
        driver.get(f"{path.as_uri()}{place}")

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def column(self, number: int) -> list[str]:
        return [cell.text for cell in self.all(f"#files tbody td:nth-child({number})")]

    def script(self, code: str) -> Any:
        return self.driver.execute_script(f"return {code}")

    def wait(self, condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + 60
        while not (value := condition()):
            assert time.monotonic() < end, self.one("body").text[:2_000]
            time.sleep(0.05)
        return value

    def open(self, row: int) -> None:
        self.all("#files tbody tr")[row].click()
        self.wait(lambda: self.script("document.getElementById('detail').dataset.ready"))

    def pixels(self, x: float, y: float, width: int = 1, height: int = 1) -> list[list[int]]:
        """Colors of the pictures, x and y in pixels of the page."""
        data = self.script(
            f"(() => {{ const c = document.querySelector('.tracks canvas'), r = c.width / "
            f"c.clientWidth; return Array.from(c.getContext('2d').getImageData({x} * r, {y} * r, "
            f"{width} * r, {height} * r).data) }})()"
        )
        return [data[i : i + 4] for i in range(0, len(data), 4)]

    def complaints(self) -> list[str]:
        entries = self.driver.get_log("browser")
        return [str(entry["message"]) for entry in entries if entry["level"] == "SEVERE"]


def test_the_table_is_paged_sorted_and_searched(browser: Any, many: Path) -> None:
    page = Page(browser, many)
    assert page.one("#summary").text.startswith("120 recordings, 19.7 min, 2 failed.")
    assert len(page.all("#files tbody tr")) == 50
    assert page.one("#page").text == "page 1 of 3"
    assert page.column(2)[:2] == ["clip001.wav", "clip002.wav"]
    page.one("#last").click()
    assert page.one("#page").text == "page 3 of 3"
    assert len(page.all("#files tbody tr")) == 20
    assert not page.one("#next").is_enabled()
    header = next(th for th in page.all("#files th") if th.text.startswith("p"))
    header.find_element("tag name", "button").click()
    assert page.one("#page").text == "page 1 of 3"
    values = [float(p) for p in page.column(5) if p]
    assert values == sorted(values, reverse=True)
    header = next(th for th in page.all("#files th") if th.text.startswith("p"))
    assert header.get_attribute("aria-sort") == "descending"
    page.one("#find").send_keys("clip01 dog")
    assert page.wait(lambda: page.one("#found").text == "10 recordings of 120")
    assert {name[:6] for name in page.column(2)} == {"clip01"}
    page.one("#find").clear()
    page.one("#find").send_keys("is empty")
    assert page.wait(lambda: page.one("#found").text == "2 recordings of 120")
    assert page.all("#files tbody .error")[0].text.endswith("onerror=document.title='hacked'>.")
    assert page.complaints() == []


def test_the_address_says_what_is_shown(browser: Any, many: Path) -> None:
    page = Page(browser, many, "#sort=-p&page=2&find=dog&open=5")
    assert page.one("#page").text == "page 2 of 3"
    page.wait(lambda: page.script("document.getElementById('detail').dataset.ready") == "4")
    assert page.one("#detail h2").text == "clip005.wav"


def test_what_is_not_sure_says_so(browser: Any, many: Path) -> None:
    page = Page(browser, many)
    assert page.column(4)[6] == "not sure (park)"
    page.open(6)
    assert "scene: not sure (park" in page.one("#detail .note").text
    assert "familiarity 0.001" in page.one("#detail .note").text


def test_nothing_hostile_runs(browser: Any, many: Path) -> None:
    page = Page(browser, many)
    title = browser.title
    page.open(2)  # with warnings, and labels that are HTML
    assert page.all("#detail img") == []
    assert page.all("#files img") == []
    assert "<img src=x" in page.one("#detail").text
    assert browser.title == title == "page: 120 recordings"
    assert page.complaints() == []


def test_pictures_stand_on_one_time_axis(browser: Any, many: Path) -> None:
    page = Page(browser, many)
    page.open(0)
    width = page.script("document.querySelector('.tracks canvas').clientWidth")
    gutter = 118
    x = lambda seconds: gutter + seconds / 10 * (width - gutter)  # noqa: E731
    # The event of 2 to 4 s is a bar under the probabilities, in the color of its curve.
    bars = 64 + 8 + 150 + 8 + 130 + 8 + 4 + 7
    inside, outside = page.pixels(x(3), bars)[0], page.pixels(x(1), bars)[0]
    assert inside[3] > 200
    assert inside[:3] != outside[:3]
    for seconds, is_loud in ((2.5, True), (7.5, False)):  # the tone falls by 20 dB after 5 s
        column = page.pixels(x(seconds), 64 + 8, height=150)
        brightest = max(sum(pixel[:3]) for pixel in column)
        assert (brightest > 600) == is_loud, seconds
    # The waveform is ten times as high in its first half.
    heights = []
    for seconds in (2.5, 7.5):
        column = page.pixels(x(seconds), 0, height=64)
        heights.append(sum(pixel[3] > 0 for pixel in column))
    assert heights[0] > 5 * heights[1]


def test_zoom_and_legend(browser: Any, many: Path) -> None:
    page = Page(browser, many)
    page.open(0)
    before = page.script("document.querySelector('.tracks canvas').toDataURL()")
    zoom = page.one("button[title^='Zoom in']")
    zoom.click()
    zoomed = page.script("document.querySelector('.tracks canvas').toDataURL()")
    assert zoomed != before
    page.one("button[title='The whole recording']").click()
    assert page.script("document.querySelector('.tracks canvas').toDataURL()") == before
    chip = page.one(".legend button")
    assert "threshold 0.3" in chip.text
    chip.click()
    assert page.one(".legend button").get_attribute("aria-pressed") == "false"
    assert page.script("document.querySelector('.tracks canvas').toDataURL()") != before


@pytest.mark.parametrize("audio", ["embed", "link"])
def test_the_recording_plays(
    browser: Any, answering: Any, recordings: Path, tmp_path: Path, audio: Any
) -> None:
    write_report(answering, recordings, tmp_path / "page.html", audio=audio)
    page = Page(browser, tmp_path / "page.html")  # a single recording opens by itself
    page.wait(lambda: page.script("document.getElementById('detail').dataset.ready") == "0")
    page.wait(lambda: page.script("document.querySelector('audio').readyState") >= 1)
    assert page.script("document.querySelector('audio').duration") == pytest.approx(10.0, abs=0.01)
    page.driver.execute_script("document.querySelector('audio').play()")
    page.wait(lambda: page.script("document.querySelector('audio').currentTime") > 0.1)
    page.driver.execute_script("document.querySelector('audio').pause()")
    # A click into the pictures goes to that time.
    over = page.one("canvas.over")
    page.driver.execute_script(
        "const c = arguments[0], r = c.getBoundingClientRect();"
        "c.dispatchEvent(new MouseEvent('click', {clientX: r.left + 118 + (r.width - 118) / 2,"
        "clientY: r.top + 20, bubbles: true}))",
        over,
    )
    now = page.wait(lambda: page.script("document.querySelector('audio').currentTime"))
    assert now == pytest.approx(5.0, abs=0.05)
    assert page.complaints() == []


def test_sound_that_is_gone_is_reported(
    browser: Any, answering: Any, recordings: Path, tmp_path: Path
) -> None:
    write_report(answering, recordings, tmp_path / "page.html", audio="link")
    (recordings / "clip001.wav").unlink()
    page = Page(browser, tmp_path / "page.html")
    page.wait(lambda: "cannot be played from sounds/clip001.wav" in page.one("#detail").text)
