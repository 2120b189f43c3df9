"""Files of results are answered again: the same is the same, and what changed is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dcasenet
from dcasenet import DcasenetError, SoundModel
from dcasenet.batch import runner
from dcasenet.batch.incremental import write_results
from dcasenet.report import write_report
from dcasenet.results.formats import FORMATS, export
from dcasenet.verify import read_provenance, verify

WriteWav = Callable[..., Path]


@pytest.fixture
def wav(write_wav: WriteWav, noise: Callable[..., np.ndarray]) -> Path:
    return write_wav("street.wav", noise(72_000))


def changed(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_of_events(
    tiny_model: SoundModel, wav: Path, tmp_path: Path, form: str
) -> None:
    events = tiny_model.detect_events(wav, threshold=0.2, min_gap=0.5)
    assert len(events) > 0
    path = tmp_path / f"street{FORMATS[form][0]}"
    export(events, form, path)
    done = verify(path, model=tiny_model)
    assert done.differences == ()
    assert done.is_same
    assert done.n_recordings == 1
    assert done.provenance.options["min_gap"] == 0.5
    answer, mark, rest = path.read_text("utf-8").partition('"provenance"')
    if mark and events[0].label in answer:
        changed_answer = answer.replace(events[0].label, "something", 1)
    else:  # the provenance is elsewhere, or comes first
        last = max(f"{answer}{mark}{rest}".rfind(event.label) for event in events)
        whole = f"{answer}{mark}{rest}"
        changed_answer, mark, rest = f"{whole[:last]}something{whole[last:]}", "", ""
    path.write_text(f"{changed_answer}{mark}{rest}", "utf-8")
    assert not verify(path, model=tiny_model).is_same


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("verb", ["classify_scene", "tag", "analyze", "embed"])
def test_every_verb(
    tiny_model: SoundModel, wav: Path, tmp_path: Path, form: str, verb: str
) -> None:
    options: dict[str, Any] = {"level": "frame"} if verb == "embed" else {}
    result = getattr(tiny_model, verb)(wav, **options)
    path = tmp_path / f"a.{form}"
    export(result, form, path)
    assert verify(path, model=tiny_model).is_same
    text = path.read_text("utf-8")
    numbers = list(re.finditer(r"[01]\.\d+", text))
    # Of JSON, one of the answer: the provenance comes after it.
    digits = (
        next(n for n in numbers if n.start() > text.find('"is_sure"'))
        if form == "json"
        else numbers[-1]
    )
    path.write_text(f"{text[: digits.start()]}9{text[digits.start() :]}")
    assert not verify(path, model=tiny_model).is_same


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".npz"])
def test_tables_of_jobs(
    tiny_model: SoundModel, wav: Path, write_wav: WriteWav, tmp_path: Path, suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(3):
        write_wav("x.wav", np.random.default_rng(number).normal(0, 0.1, 30_000)).rename(
            folder / f"{number}.wav"
        )
    (folder / "broken.wav").write_text("no sound")
    output = tmp_path / f"out{suffix}"
    job = runner.embed if suffix == ".npz" else runner.analyze
    assert job(tiny_model, folder, output, workers=0).n_failed == 1
    done = verify(output, model=tiny_model)
    assert done.differences == ()
    assert done.n_recordings == 3
    write_wav("x.wav", np.zeros(30_000)).rename(folder / "1.wav")
    (difference,) = verify(output, model=tiny_model).differences
    assert "1.wav has changed" in difference
    (folder / "1.wav").unlink()
    (difference,) = verify(output, model=tiny_model).differences
    assert "1.wav is not there any more. Say where: --recordings FOLDER." in difference


def test_names_that_a_table_writes_otherwise(
    tiny_model: SoundModel, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("-a.wav", "=b.wav", "+c.wav", "@d.wav", "e\nf.wav", "'g.wav", "h\\n.wav")
    for name in names:
        (tmp_path / name).write_bytes(wav.read_bytes())
    monkeypatch.chdir(tmp_path)
    runner.tag(tiny_model, names, "out.csv", workers=0)
    assert verify("out.csv", model=tiny_model).differences == ()
    changed(tmp_path / "out.status.csv", "'-a.wav", "'-x.wav")
    (difference,) = verify("out.csv", model=tiny_model).differences
    assert "-x.wav is not there any more" in difference


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_files_of_one_long_recording(
    tiny_model: SoundModel, wav: Path, tmp_path: Path, suffix: str
) -> None:
    write_results(tiny_model, wav, tmp_path / f"out{suffix}", threshold=0.2)
    assert verify(tmp_path / f"out{suffix}", model=tiny_model).differences == ()
    changed(tmp_path / f"out{suffix}", "3.0", "2.5")
    assert not verify(tmp_path / f"out{suffix}", model=tiny_model).is_same


def test_a_report_and_a_picture(tiny_model: SoundModel, wav: Path, tmp_path: Path) -> None:
    write_report(tiny_model, wav, tmp_path / "page.html", threshold=0.2)
    assert verify(tmp_path / "page.html", model=tiny_model).differences == ()
    changed(tmp_path / "page.html", '"duration": 3.0', '"duration": 4.0')
    (difference,) = verify(tmp_path / "page.html", model=tiny_model).differences
    assert difference == "row 1 duration: 4.0 in the file, and 3.0 now."
    pytest.importorskip("matplotlib")
    from dcasenet.plot import save_plot

    save_plot(tiny_model.spec, wav, tiny_model.analyze(wav, threshold=0.2), tmp_path / "a.png")
    assert verify(tmp_path / "a.png", model=tiny_model).differences == ()
    assert read_provenance(tmp_path / "a.png").verb == "analyze"


def test_other_weights_are_told(tiny_model: SoundModel, wav: Path, tmp_path: Path) -> None:
    import torch

    tiny_model.tag(wav).to_json(path=tmp_path / "a.json")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = dcasenet.create("v3", n_scenes=4, n_tags=5, n_events=3, width=0.125)
    other = SoundModel(tiny_model.spec, tiny_model.frontend, network)
    (difference,) = verify(tmp_path / "a.json", model=other).differences
    assert difference.startswith("The weights are others: the file was made with sha256:")


def test_recordings_that_have_moved(tiny_model: SoundModel, wav: Path, tmp_path: Path) -> None:
    tiny_model.tag(wav).to_json(path=tmp_path / "a.json")
    (tmp_path / "elsewhere").mkdir()
    wav.rename(tmp_path / "elsewhere" / wav.name)
    assert not verify(tmp_path / "a.json", model=tiny_model).is_same
    assert verify(tmp_path / "a.json", model=tiny_model, recordings=tmp_path / "elsewhere").is_same
    (tmp_path / "elsewhere" / wav.name).rename(tmp_path / "b.wav")
    (tmp_path / "out").mkdir()


def test_another_version_is_a_remark(tiny_model: SoundModel, wav: Path, tmp_path: Path) -> None:
    tiny_model.tag(wav).to_json(path=tmp_path / "a.json")
    changed(tmp_path / "a.json", f'"version": "{dcasenet.__version__}"', '"version": "0.0.9"')
    done = verify(tmp_path / "a.json", model=tiny_model)
    assert done.is_same
    assert done.remarks == (f"It was made by dcasenet 0.0.9; this is {dcasenet.__version__}.",)


def test_the_sidecar_names_its_file(tiny_model: SoundModel, wav: Path, tmp_path: Path) -> None:
    tiny_model.tag(wav).to_csv(tmp_path / "a.csv")
    assert verify(tmp_path / "a.csv.provenance.json", model=tiny_model).path == tmp_path / "a.csv"


def test_numbers_within_the_tolerance_are_the_same(
    tiny_model: SoundModel, wav: Path, tmp_path: Path
) -> None:
    tiny_model.tag(wav).to_json(path=tmp_path / "a.json")
    values = json.loads((tmp_path / "a.json").read_text())
    values["tags"][0]["probability"] -= 0.004
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert verify(tmp_path / "a.json", model=tiny_model).is_same
    assert not verify(tmp_path / "a.json", model=tiny_model, tolerance=0.003).is_same


def test_what_cannot_be_verified(tiny_model: SoundModel, wav: Path, tmp_path: Path) -> None:
    with pytest.raises(DcasenetError, match=r"There is no file .*a\.json"):
        verify(tmp_path / "a.json")
    for name, content in (
        ("a.json", "{}"), ("b.json", "no json"), ("c.png", "x"), ("d.html", "<html>"),
        ("e.csv", "a,b"), ("f.vtt", "WEBVTT"), ("g.xyz", ""), ("h.json", "[1]"),
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
        with pytest.raises(DcasenetError, match=name):
            verify(tmp_path / name)
    tiny_model.tag(wav).to_json(path=tmp_path / "a.json")
    with pytest.raises(DcasenetError, match=r"'v3 tiny'.*no released checkpoint.*--model"):
        verify(tmp_path / "a.json")


def test_a_provenance_that_makes_no_sense(
    tiny_model: SoundModel, wav: Path, tmp_path: Path
) -> None:
    tiny_model.detect_events(wav).to_json(path=tmp_path / "a.json")
    changed(tmp_path / "a.json", '"dog": 0.3', '"dog": 7')
    with pytest.raises(DcasenetError, match=r"a\.json cannot be made again.*range"):
        verify(tmp_path / "a.json", model=tiny_model)


def test_the_released_model_is_found_by_its_name(wav: Path, tmp_path: Path) -> None:
    model = dcasenet.load(runtime="torch")
    model.classify_scene(wav).to_json(path=tmp_path / "a.json")
    assert verify(tmp_path / "a.json").is_same
