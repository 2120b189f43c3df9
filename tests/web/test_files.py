"""The files of the page: complete, and what they take from others as it was published."""

from __future__ import annotations

import gzip
import hashlib
import json
import re

import pytest

from dcasenet.live.page import page_folder

VENDOR = page_folder() / "vendor"
PACKAGES = json.loads((VENDOR / "versions.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "digest"),
    [(name, of["sha256"]) for package in PACKAGES for name, of in package["files"].items()],
)
def test_what_is_from_others_is_as_published(name: str, digest: str) -> None:
    content = (VENDOR / name).read_bytes()
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    assert hashlib.sha256(content).hexdigest() == digest


def test_every_package_comes_with_its_license() -> None:
    names = {path.name for path in VENDOR.iterdir()}
    assert {f"{package['name']}.LICENSE" for package in PACKAGES} <= names


def test_every_file_that_the_page_names_is_there() -> None:
    for path in page_folder().glob("*.*"):
        text = path.read_text("utf-8")
        named = re.findall(r"from \"(\./[^\"]+)\"|new URL\(\"([^\"]+)\", import", text)
        named += re.findall(r"(?:src|href)=\"([\w.]+\.(?:js|css))\"()", text)
        for name in (one or other for one, other in named):
            assert (page_folder() / name).is_file(), f"{path.name} names {name}"


def test_no_other_host_is_named() -> None:
    for path in page_folder().glob("*.*"):
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text("utf-8"))
