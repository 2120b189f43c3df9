"""Write the HTML page of a report, part by part.

It contains data as JSON and as packed arrays, in elements that no browser executes; the only script
and style are those of this package, and a content security policy allows nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from dcasenet.text import one_line

# The tag by which a report is recognized.
GENERATOR = '<meta name="generator" content="dcasenet">'
BODY = """<header><h1>{title}</h1><p class="summary" id="summary"></p></header>
<main>
<section id="detail" hidden aria-live="polite"></section>
<section>
<div class="bar">
<input type="search" id="find" placeholder="Find names, scenes, tags, events" aria-label="Find">
<span class="note" id="found"></span><span class="grow"></span>
<span id="pager"><button type="button" id="first">« First</button>
<button type="button" id="back">‹ Back</button> <span id="page"></span>
<button type="button" id="next">Next ›</button>
<button type="button" id="last">Last »</button></span>
</div>
<table id="files"><thead></thead><tbody></tbody></table>
</section>
<details><summary>How this was made</summary><pre id="provenance"></pre></details>
<noscript>This page needs JavaScript to show its {count} recordings.</noscript>
</main>
"""


class Page:
    """Write a page to a text file, part by part.

    Args:
        file: File to write, from its start.
        title: Title of the page.
        count: Number of recordings.

    Example:
        >>> import io
        >>> file = io.StringIO()
        >>> page = Page(file, "Street", 1)
        >>> page.finish({"tasks": []}, [{"name": "</script>.wav"}])
        >>> "</script>.wav" in file.getvalue(), "Street</title>" in file.getvalue()
        (False, True)
    """

    def __init__(self, file: TextIO, title: str, count: int) -> None:
        self._file = file
        self._script, style = _asset("page.js"), _asset("page.css")
        policy = "; ".join(
            [
                "default-src 'none'",
                f"script-src {_hash(self._script)}",
                f"style-src {_hash(style)}",
                # Recordings are embedded, or are files beside the page.
                "media-src blob: file: 'self'",
                "base-uri 'none'",
                "form-action 'none'",
            ]
        )
        title = escape(one_line(title))
        file.write(
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"{GENERATOR}\n"
            f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
            + BODY.format(title=title, count=f"{count:,}")
        )

    def add_detail(self, index: int, header: Mapping[str, Any], **arrays: NDArray[np.uint8]) -> int:
        """Write the pictures of a recording; return their size in the page, in bytes."""
        text = base64.b64encode(packed(header, **arrays)).decode("ascii")
        return self._data(f"d{index}", text)

    def add_audio(self, index: int, content: bytes) -> int:
        """Write the sound of a recording as FLAC; return its size in the page, in bytes."""
        return self._data(f"a{index}", base64.b64encode(content).decode("ascii"))

    def finish(self, meta: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
        """Write the data of all recordings, and the script that displays it."""
        for name, values in (("meta", meta), ("rows", rows)):
            self._file.write(
                f'<script type="application/json" id="{name}">{_json(values)}</script>\n'
            )
        self._file.write(f"<script>{self._script}</script>\n</body>\n</html>\n")

    def _data(self, name: str, text: str) -> int:
        self._file.write(f'<script type="text/plain" id="{name}">{text}</script>\n')
        return len(text)


def packed(header: Mapping[str, Any], **arrays: NDArray[np.uint8]) -> bytes:
    """Pack a header and arrays for the page's script.

    The deflated content is the header's length (4 bytes, little-endian), the header as JSON, and
    the arrays' bytes in the order of its ``arrays``, which lists them with their shapes.
    """
    shapes = {name: list(values.shape) for name, values in arrays.items()}
    head = json.dumps({**header, "arrays": shapes}).encode()
    content = b"".join(np.ascontiguousarray(v, dtype=np.uint8).tobytes() for v in arrays.values())
    return zlib.compress(struct.pack("<I", len(head)) + head + content, level=6)


def quantized(values: NDArray[np.floating], lowest: float, highest: float) -> NDArray[np.uint8]:
    """Scale values from `lowest` to `highest` to the integers 0 to 255.

    Example:
        >>> quantized(np.array([-80.0, -40.0, 0.0]), -80, 0)
        array([  0, 128, 255], dtype=uint8)
    """
    share = (np.asarray(values, dtype=np.float64) - lowest) / (highest - lowest)
    return np.asarray(np.round(np.clip(share, 0, 1) * 255), dtype=np.uint8)


def _asset(name: str) -> str:
    return (files("dcasenet.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _json(values: object) -> str:
    """Return ASCII JSON that cannot end the element that contains it."""
    text = json.dumps(values, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
