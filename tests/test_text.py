"""Text from strangers: in terminals, tables, Markdown and JSON it is text, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dcasenet
from dcasenet.text import json_text, markdown, one_line, spreadsheet_cell

# What terminals take for commands: clear, title, a link, a device query; and what hides text.
ATTACKS = (
    "dog\x1b[2J",
    "dog\x1b]0;title\x07",
    "dog\x9b31m",
    "dog\r\nrm -rf",
    "dog\x00\x7f",
    "gpj.\u202eexe",
    "dog\u2028cat",
    "dog\udcff",
    "zero\u200bwidth",
)
ANY_TEXT = st.text(st.characters())


def is_safe(text: str) -> bool:
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for c in text)


@pytest.mark.parametrize("attack", ATTACKS)
def test_commands_to_a_terminal_become_escapes(attack: str) -> None:
    assert is_safe(one_line(attack))
    assert one_line(attack).startswith(attack[:3])
    message = str(dcasenet.WeightsError(f"{attack} cannot be read."))
    assert is_safe(message)
    assert message.endswith(" cannot be read.")


@pytest.mark.parametrize("text", ["dog", "Straßenlärm", "犬の鳴き声", "🐕", "a_b (c), d"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert one_line(text) == spreadsheet_cell(text) == text
    assert json_text(text) == json.dumps(text, ensure_ascii=False)


@given(ANY_TEXT)
def test_no_text_gets_through(text: str) -> None:
    assert is_safe(one_line(text))
    cell = spreadsheet_cell(text)
    assert is_safe(cell)
    assert not cell.lstrip().startswith(("=", "@"))
    assert is_safe(markdown(text))
    assert "<" not in markdown(text)
    line = json_text({"a": text})
    assert is_safe(line)
    assert json.loads(line) == {"a": text}


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", " =1+1", "=cmd|'/c calc'!A0", "-a.wav"]
)
def test_formulas_become_text(formula: str) -> None:
    assert spreadsheet_cell(formula) == f"'{formula}"


@pytest.mark.parametrize("number", ["-0.5", "+1e-3", "12", "-3"])
def test_numbers_stay_numbers(number: str) -> None:
    assert spreadsheet_cell(number) == number


def test_cells_survive_a_reader_of_csv() -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(map(spreadsheet_cell, ATTACKS))
    (row,) = csv.reader(io.StringIO(buffer.getvalue()))
    assert row == [one_line(attack) for attack in ATTACKS]
