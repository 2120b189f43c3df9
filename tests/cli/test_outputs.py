"""Where results go: formats, files, folders, thresholds, and what is not sure."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from dcasenet import ModelSpec, SoundModel
from dcasenet.cli import options, output
from dcasenet.cli.options import parse_threshold
from dcasenet.results.formats import FORMATS

Run = Callable[..., Any]


def loads(text: str) -> Any:
    """Numbers with 4 decimals: what a batch holds decides the last digits."""
    return json.loads(text, parse_float=lambda number: round(float(number), 4))


@pytest.fixture
def folder_of_two(wav: Path) -> Path:
    place = wav.parent / "sounds" / "deep"
    place.mkdir(parents=True)
    for name in ("one.wav", "two.wav"):
        (place / name).write_bytes(wav.read_bytes())
    return place.parent


def test_every_format_can_be_requested() -> None:
    assert set(output.ResultFormat.__args__) == {"table", *FORMATS}  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"json", "csv"}))
def test_events_for_other_programs(run: Run, wav: Path, tiny_model: SoundModel, form: str) -> None:
    done = run("events", wav, "--threshold", 0.1, "--format", form, "--runtime", "torch")
    assert done.code == 0
    events = tiny_model.detect_events(wav, threshold=0.1)
    export = {"labelstudio": "label_studio", "scores": "sed_scores"}.get(form, form)
    expected = getattr(events, f"to_{export}")()
    if form == "webvtt":
        done = done._replace(out=done.out[done.out.index("\n1\n") :])
        expected = expected[expected.index("\n1\n") :]
    if form in ("jams", "labelstudio"):
        assert json.loads(done.out).__class__ is json.loads(expected).__class__
    else:
        assert done.out == expected
    many = run("events", wav, wav, "--format", form)
    assert many.code == 2
    assert "holds one recording" in " ".join(many.err.split())
    assert "is for events" in " ".join(run("tags", wav, "--format", form).err.split())


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("events", "a.TextGrid"), ("events", "a.selections.txt"), ("events", "a.json"),
        ("analyze", "a.vtt"), ("analyze", "a.json"), ("scene", "a.json"), ("tags", "a.json"),
    ],
)  # fmt: skip
def test_a_file_of_one_recording(
    run: Run, wav: Path, tmp_path: Path, command: str, name: str
) -> None:
    done = run(command, wav, "--output", tmp_path / name)
    assert (done.code, done.out) == (0, f"{tmp_path / name}: {wav}\n")
    assert (tmp_path / name).stat().st_size > 0
    again = run(command, wav, "--output", tmp_path / name)
    assert again.code == 1
    assert "exists already" in again.err
    assert run(command, wav, "--output", tmp_path / name, "--restart").code == 0
    assert run("verify", tmp_path / name, "--model", run.folder, model=False).code == 0


def test_label_studio_is_requested_by_name(run: Run, wav: Path, tmp_path: Path) -> None:
    assert run("events", wav, "--output", tmp_path / "a.json", "--format", "labelstudio").code == 0
    assert isinstance(json.loads((tmp_path / "a.json").read_text()), list)
    wrong = run("events", wav, "--output", tmp_path / "a.vtt", "--format", "jams")
    assert wrong.code == 2
    assert "a file that ends in .jams" in " ".join(wrong.err.split())


@pytest.mark.parametrize("command", ["scene", "tags", "events", "analyze"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_every_command_writes_a_table_of_a_folder(
    run: Run, folder_of_two: Path, tmp_path: Path, command: str, suffix: str
) -> None:
    table = tmp_path / f"out{suffix}"
    done = run(command, folder_of_two, "--output", table)
    assert (done.code, done.out) == (0, f"{table}: 2 files\n")
    provenance = json.loads((tmp_path / f"out{suffix}.provenance.json").read_text())
    assert provenance["options"]["reject"] is True
    if suffix == ".jsonl":
        rows = [loads(line) for line in table.read_text().splitlines()]
        assert [Path(row["filename"]).name for row in rows] == ["one.wav", "two.wav"]
        assert rows[0]["input"].startswith("sha256:")
        printed = [
            loads(line) for line in run(command, folder_of_two, "--format", "json").out.splitlines()
        ]
        for row, line in zip(rows, printed, strict=True):
            for key in ("scene", "tags", "events"):
                if key in row and key in line:
                    assert row[key] == line[key], key


def test_a_folder_of_files(run: Run, folder_of_two: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    done = run("events", folder_of_two, "--output", labels, "--format", "audacity")
    assert (done.code, done.out) == (0, f"{labels}: 2 files\n")
    assert sorted(str(p.relative_to(labels)) for p in labels.rglob("*.txt")) == [
        "deep/one.txt", "deep/two.txt",
    ]  # fmt: skip
    again = run("events", folder_of_two, "--output", labels, "--format", "audacity")
    assert again.out == f"{labels}: 2 files, 2 kept as they were\n"
    (folder_of_two / "deep" / "broken.wav").write_text("no sound")
    failed = run("events", folder_of_two, "--output", labels, "--format", "audacity", "--restart")
    assert failed.code == 1
    assert failed.out == f"{labels}: 3 files, 1 failed\n"
    assert "broken.wav" in failed.err
    unsaid = run("events", folder_of_two, "--output", labels)
    assert unsaid.code == 2
    assert "Say which with --format: json, csv, audacity" in " ".join(unsaid.err.split())
    (folder_of_two / "deep" / "broken.wav").unlink()
    frames = run("embed", folder_of_two, "--level", "frame", "--output", labels, "--format", "csv")
    assert frames.code == 0
    assert (labels / "deep" / "one.csv").read_text().startswith("filename,time,e0,")


def test_outputs_that_cannot_be(run: Run, folder_of_two: Path, wav: Path, tmp_path: Path) -> None:
    for words, message in (
        (
            ("scene", wav, "--output", tmp_path / "a.vtt"),
            "must end in .parquet, .jsonl, .csv, .json",
        ),
        (("events", folder_of_two, "--output", tmp_path / "a.vtt"), "holds one recording"),
        (("events", wav, "--output", tmp_path / "no" / "a.vtt"), "there is no folder"),
        (("events", wav, "--output", tmp_path / "a.vtt", "--workers", 1), "go with --output"),
    ):
        done = run(*words)
        assert done.code == 2, words
        assert message in " ".join(done.err.split()), words


def test_folders_are_printed_too(run: Run, folder_of_two: Path) -> None:
    lines = run("scene", folder_of_two, "--format", "json").out.splitlines()
    assert [Path(json.loads(line)["filename"]).name for line in lines] == ["one.wav", "two.wav"]


def test_options_of_detection(run: Run, wav: Path, tiny_model: SoundModel) -> None:
    def events(*words: object) -> list[dict[str, Any]]:
        done = run("events", wav, "--format", "json", "--runtime", "torch", *words)
        assert done.code == 0, done.err
        found: list[dict[str, Any]] = loads(done.out)["events"]
        return found

    # Between two probabilities, so that no rounding decides.
    values = np.sort(tiny_model.detect_events(wav).probabilities, axis=None)
    values = values[len(values) // 4 : 3 * len(values) // 4]
    widest = int(np.diff(values).argmax())
    middle = float(values[widest : widest + 2].mean())
    for words, options_ in (
        (("--threshold", middle, "--median", 1.7), {"threshold": middle, "median": 1.7}),
        (("--threshold", middle, "--min-gap", 2), {"threshold": middle, "min_gap": 2.0}),
        (("--threshold", middle, "--min-duration", 1), {"threshold": middle, "min_duration": 1.0}),
        (("--threshold", "dog=0", "--window", 1.6, "--hop", 0.8),
         {"threshold": {"dog": 0.0}, "window": 1.6, "hop": 0.8}),
        (("--threshold", 0, "--resolution", "fine"), {"threshold": 0.0, "resolution": "fine"}),
        (("--threshold", 0, "--channels", 0), {"threshold": 0.0, "channels": 0}),
    ):  # fmt: skip
        expected = tiny_model.detect_events(wav, **options_)  # type: ignore[arg-type]
        assert events(*words) == loads(expected.to_json())["events"], words


def test_thresholds_of_the_command() -> None:
    spec = ModelSpec("v3", "mine", events=("dog", "a=b, c"))
    assert parse_threshold(None, spec) is None
    assert parse_threshold([], spec) is None
    assert parse_threshold(["0.4"], spec) == 0.4
    assert parse_threshold(["precision@0.9"], spec) == "precision@0.9"
    assert parse_threshold(["a=b, c=0.4"], spec) == {"a=b, c": 0.4}
    assert parse_threshold(["0.2", "dog=f1"], spec) == {"dog": "f1", "a=b, c": 0.2}
    with pytest.raises(typer.BadParameter, match="given 2 times without a label"):
        parse_threshold(["0.2", "0.3"], spec)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2", "out of range"), ("often", "no operating point"), ("f1", "stores none"),
        ("dgo=0.1", "Did you mean 'dog'"), ("dog=nan", "out of range"),
    ],
)  # fmt: skip
def test_thresholds_that_are_none(run: Run, wav: Path, value: str, message: str) -> None:
    for command in ("events", "analyze"):
        done = run(command, wav, "--threshold", value)
        assert done.code == 2
        assert message in " ".join(done.err.split())


def test_channels_that_are_none(run: Run, wav: Path) -> None:
    done = run("tags", wav, "--channels", "left")
    assert done.code == 2
    assert "accepted are mix, each, and a number" in " ".join(done.err.split())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_devices_and_full_disks(run: Run, wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("tags", wav, "--output", "/dev/full")
    assert done.code == 2
    assert "/dev/full is neither a folder nor a file" in " ".join(done.err.replace("│", "").split())
    plain = wav.with_name("plain")
    plain.touch()
    assert run("tags", wav, "--output", plain).code == 2
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        done = run("tags", wav, "--format", "csv")
        with contextlib.suppress(OSError):
            full.close()
    assert done.code == 1
    assert done.err == "error: The results cannot be written: No space left on device.\n"


def test_what_is_not_sure_is_printed(
    run: Run, wav: Path, tiny_model: SoundModel, tmp_path: Path
) -> None:
    import dataclasses

    from dcasenet.inference import familiarity

    rng = np.random.default_rng(0)
    far = rng.standard_normal((40, tiny_model.spec.embedding_size)).astype(np.float32) + 1e3
    spec = dataclasses.replace(tiny_model.spec, familiarity=familiarity.fit(far, far, rank=4))
    SoundModel(spec, tiny_model.frontend, tiny_model.network).save_pretrained(tmp_path / "unsure")
    words = ("--model", tmp_path / "unsure")
    table = run("analyze", wav, *words, model=False).out
    assert "street.wav  3.00 s  not sure" in table
    assert "scene (not sure)" in table
    assert "tag (not sure)" in table
    row = json.loads(run("analyze", wav, *words, "--format", "json", model=False).out)
    assert (row["is_sure"], row["familiarity"]) == (False, 0.0)
    assert all(event["probability"] > 0.5 for event in row["events"])
    row = json.loads(
        run("analyze", wav, *words, "--format", "json", "--no-reject", model=False).out
    )
    assert (row["is_sure"], row["familiarity"]) == (True, None)
    assert "not sure" not in run("scene", wav, *words, "--no-reject", model=False).out


def test_hostile_names_do_no_harm(run: Run, wav: Path, tmp_path: Path) -> None:
    odd = tmp_path / "=cmd|' \x1b[2J\nnew line.wav"
    try:
        odd.write_bytes(wav.read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    for form in ("table", "json", "csv"):
        for command in ("analyze", "scene", "tags", "events", "embed"):
            done = run(command, odd, "--format", form)
            assert done.code == 0
            assert "\x1b" not in done.out + done.err, (command, form)
    rows = list(csv.reader(io.StringIO(run("tags", odd.name, "--format", "csv").out)))
    assert len(rows) <= 1 or not any(cell.startswith("=") for row in rows for cell in row)
    (line,) = run("scene", odd, "--format", "json").out.splitlines()
    assert json.loads(line)["filename"] == str(odd)


def test_options_of_groups_become_options_of_commands() -> None:
    seen: dict[str, object] = {}

    @options.with_options
    def command(name: str, of_model: options.CheckpointOptions, top: options.Top = 5) -> None:
        seen.update(name=name, model=of_model, top=top)

    command(name="a", model="v3", stage="mine", weights=None, top=2)
    assert seen == {"name": "a", "model": options.CheckpointOptions("v3", "mine"), "top": 2}
