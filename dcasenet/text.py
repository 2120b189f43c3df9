"""Text from strangers - labels, file names, metadata - made safe for where it is shown."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Sequence

# Unicode categories that move a cursor, hide text or are no text: controls, formats such as
# right-to-left overrides, lone surrogates, private use, line and paragraph separators.
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# A spreadsheet takes a cell that begins so for a formula.
FORMULA = ("=", "+", "-", "@")
# What `one_line` writes in place of such a character.
ESCAPE = re.compile(r"\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
SHOWN = 5  # names that a message lists before it counts the rest


def one_line(text: str) -> str:
    r"""Return text on one line, without control characters: those are written as escapes.

    Example:
        >>> print(one_line("dog\x1b[2J\n"))
        dog\x1b[2J\n
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in UNPRINTABLE else c for c in text)


def spreadsheet_cell(text: object) -> str:
    """Return text for a cell of a table: on one line, and never a formula.

    A number stays as it is.

    Example:
        >>> spreadsheet_cell("=HYPERLINK(1)"), spreadsheet_cell("-0.5"), spreadsheet_cell("dog")
        ("'=HYPERLINK(1)", '-0.5', 'dog')
    """
    text = one_line(str(text))
    if not text.lstrip().startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def originals(cell: str) -> list[str]:
    r"""Return what `spreadsheet_cell` may have been given, for a cell that it returned.

    It cannot be told which: an apostrophe or an escape may have been there before.

    Example:
        >>> originals("'-a.wav"), originals("a\\nb")
        (["'-a.wav", '-a.wav'], ['a\\nb', 'a\nb'])
    """
    guarded = cell.startswith("'") and cell[1:].lstrip().startswith(FORMULA)
    found = [cell, cell[1:]] if guarded else [cell]
    found += [ESCAPE.sub(_unescaped, text) for text in found]
    return list(dict.fromkeys(found))


def markdown(text: str) -> str:
    r"""Return text as Markdown that shows it as it is: no HTML, links, code or cells of a table.

    Example:
        >>> print(markdown("<b> [x](y) `z` | w"))
        &lt;b&gt; \[x\](y) \`z\` \| w
    """
    return html.escape(re.sub(r"([\\`\[\]|!*])", r"\\\1", one_line(text)), quote=False)


def json_text(value: object, indent: int | None = None) -> str:
    r"""Return JSON that no terminal takes for commands, in readable letters.

    Args:
        value: What `json.dumps` takes.
        indent: Spaces for each level; by default all is on one line.

    Example:
        >>> json_text({"label": "caf\u00e9 \x9b2J"})
        '{"label": "café \\u009b2J"}'
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(
        json.dumps(c)[1:-1] if c != "\n" and unicodedata.category(c) in UNPRINTABLE else c
        for c in text
    )


def count(number: int, what: str) -> str:
    """Return a number of things.

    Example:
        >>> count(1, "file"), count(1_000, "file")
        ('1 file', '1,000 files')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def shorten_list(names: Sequence[str], shown: int = SHOWN) -> str:
    """List the first few of several names, and count the rest.

    Example:
        >>> shorten_list(["a", "b", "c"], shown=2)
        'a, b and 1 more'
    """
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _unescaped(escape: re.Match[str]) -> str:
    return escape[0].encode("ascii").decode("unicode_escape")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
