"""`search` and `redact`, called as a user calls them."""

from __future__ import annotations

import copy
import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import dcasenet.batch
from dcasenet import SoundModel, cli

RATE = 24_000


@pytest.fixture(scope="module")
def model_folder(tiny_model: SoundModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save_pretrained(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model_folder: Path,
    tmp_path: Path,
) -> Callable[..., tuple[int, str, str]]:
    """run(command, *arguments) → exit code, standard output, standard error."""
    monkeypatch.setenv("DCASENET_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: object) -> tuple[int, str, str]:
        words = ["dcasenet", *map(str, arguments), "--model", str(model_folder)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Noises of other loudness, in a folder."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(5):
        noise = 0.4**number * 0.3 * random.standard_normal(RATE)
        soundfile.write(folder / f"{number}.wav", noise, RATE)
    return folder


def test_search_a_folder_by_a_recording(
    run: Callable[..., tuple[int, str, str]],
    sounds: Path,
    tiny_model: SoundModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query = sounds / "2.wav"
    code, out, err = run("search", query, sounds, "--format", "json", "--top", 3)
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 3
    vectors = {path: np.asarray(tiny_model.embed(path)) for path in sorted(sounds.iterdir())}
    own = vectors.pop(query)  # is not found
    cosines = {
        str(path): float(v @ own / np.linalg.norm(v) / np.linalg.norm(own))
        for path, v in vectors.items()
    }
    best = sorted(cosines, key=cosines.__getitem__, reverse=True)[:3]
    assert [line["filename"] for line in lines] == best
    assert [line["similarity"] for line in lines] == pytest.approx(
        [cosines[name] for name in best], abs=1e-4
    )
    monkeypatch.chdir(sounds)  # whose name may be too long for a table
    code, out, _ = run("search", query.name, ".")
    assert "similarity" in out
    assert Path(best[0]).name in out


def test_search_a_table_that_embed_wrote(
    run: Callable[..., tuple[int, str, str]], sounds: Path, tmp_path: Path
) -> None:
    table = tmp_path / "embeddings.npz"
    assert run("embed", sounds, "--output", table, "--workers", 0)[0] == 0
    of_table, of_folder = (
        run("search", sounds / "0.wav", place, "--format", "csv") for place in (table, sounds)
    )
    assert of_table == of_folder
    rows = list(csv.reader(io.StringIO(of_table[1])))
    assert rows[0] == ["filename", "similarity"]
    assert len(rows) == 5


def test_a_table_of_another_model_is_refused(
    run: Callable[..., tuple[int, str, str]],
    sounds: Path,
    tiny_model: SoundModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        other.network.tag_gru.bias_ih_l0 += 1.0
    other.refresh()
    for suffix in (".npz", ".csv"):
        table = tmp_path / f"other{suffix}"
        dcasenet.batch.embed(other, sounds, table, workers=0)
        code, _, err = run("search", sounds / "0.wav", table)
        assert code == 1
        assert "was made with v3 tiny, whose weights are others" in err


def test_search_by_label(
    run: Callable[..., tuple[int, str, str]], sounds: Path, tiny_model: SoundModel
) -> None:
    code, out, _ = run("search", "--label", "siren", sounds, "--format", "json")
    assert code == 0
    for line in map(json.loads, out.splitlines()):
        wanted = tiny_model.tag(line["filename"]).probabilities["siren"]
        assert line["probability"] == pytest.approx(wanted, abs=1e-4)
    code, _, err = run("search", "--label", "sirene", sounds)
    assert code == 2
    assert "Did you mean 'siren'" in " ".join(err.replace("│", "").split())


def test_search_counts_what_it_does_not_search(
    run: Callable[..., tuple[int, str, str]], sounds: Path
) -> None:
    (sounds / "notes.txt").touch()
    (sounds / "torn.wav").write_bytes(b"RIFF")
    for n_errors in (1, 0):  # the second time the embeddings are known
        code, out, err = run("search", sounds / "0.wav", sounds, "--format", "csv")
        assert code == 0
        assert len(out.splitlines()) == 5
        *errors, passed_over, left_out = err.splitlines()
        assert passed_over == "passed over: 1 .txt"
        assert left_out == "left out: 1 that cannot be used (dcasenet check says why)"
        assert [line.startswith("error: ") and "torn.wav" in line for line in errors] == (
            [True] * n_errors
        )


def test_search_keeps_the_embeddings_where_it_is_told(
    run: Callable[..., tuple[int, str, str]], sounds: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.npz"
    assert run("search", sounds / "0.wav", sounds, "--index", kept)[0] == 0
    assert kept.is_file()
    assert not (tmp_path / "cache" / "search").exists()
    code, _, err = run("search", sounds / "0.wav", kept, "--index", kept)
    assert code == 2
    assert "--index" in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("dog.wav",), 2, "Say where to search"),
        (("dog.wav", "none.npz"), 1, "There is no file none.npz"),
        (("dog.wav", "a.npz", "b.npz"), 2, "is a table; give it alone"),
        (("--label", "siren", "empty"), 1, "There is no recording in empty"),
    ],
)
def test_searches_that_cannot_be(
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    got, _, err = run("search", *arguments)
    assert got == code
    assert says in " ".join(err.replace("│", "").split())


def test_redact_beside_and_into_a_folder(
    run: Callable[..., tuple[int, str, str]], sounds: Path, tmp_path: Path
) -> None:
    code, out, err = run("redact", sounds / "0.wav", "--threshold", 0, "--format", "json")
    assert (code, err) == (0, "")
    done = json.loads(out)
    assert done["spans"] == [[0.0, 1.0]]  # everything is above 0
    assert not soundfile.read(sounds / "0.redacted.wav")[0].any()
    (tmp_path / "copies").mkdir()
    files = (sounds / "1.wav", sounds / "2.wav")
    code, out, _ = run("redact", *files, "-o", tmp_path / "copies", "--threshold", 1)
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == [
        "1.redacted.wav",
        "2.redacted.wav",
    ]
    assert out.count("0.00 of 1.00 s silenced") == 2
    code, _, err = run("redact", *files, sounds / "none.wav", "-o", tmp_path / "copies")
    assert code == 1
    assert err.count("exists already") == 2
    code, out, _ = run(
        "redact", files[0], "-o", tmp_path / "a.flac", "--label", "dog", "--format", "csv"
    )
    assert code == 0
    assert out.splitlines()[0] == "filename,output,onset,offset"
    assert soundfile.info(tmp_path / "a.flac").frames == RATE


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--label", "cat"), "no event 'cat'"),
        (("-o", "none/"), "is not a folder, and there are 2 recordings"),
    ],
)
def test_redactions_that_cannot_be(
    run: Callable[..., tuple[int, str, str]], sounds: Path, options: tuple[str, ...], says: str
) -> None:
    code, _, err = run("redact", sounds / "0.wav", sounds / "1.wav", *options)
    assert code == 2
    assert says in " ".join(err.replace("│", "").split())
    assert len(list(sounds.iterdir())) == 5


def test_redact_a_folder_into_another(
    run: Callable[..., tuple[int, str, str]], sounds: Path, tmp_path: Path
) -> None:
    (sounds / "deep").mkdir()
    (sounds / "0.wav").rename(sounds / "deep" / "0.wav")
    soundfile.write(sounds / "1.flac", np.zeros(RATE), RATE)
    (sounds / "1.wav").rename(sounds / "1.caf.wav")
    soundfile.write(sounds / "1.mp4", np.zeros(RATE), RATE, format="FLAC")  # a copy is FLAC, too
    (sounds / "torn.wav").write_bytes(b"RIFF")
    (sounds / "notes.txt").touch()
    copies = tmp_path / "new" / "copies"
    code, out, err = run("redact", sounds, "-o", copies, "--threshold", 1)
    assert code == 1
    assert "passed over: 1 .txt" in err.splitlines()
    assert [line for line in err.splitlines() if "torn.wav" in line]
    assert sorted(str(path.relative_to(copies)) for path in copies.rglob("*.*")) == [
        "1.caf.redacted.wav",
        "1.flac.redacted.flac",
        "1.mp4.redacted.flac",
        "2.redacted.wav",
        "3.redacted.wav",
        "4.redacted.wav",
        "deep/0.redacted.wav",
    ]
    assert len(out.splitlines()) == 7
    for options, says in (((), "Say with --output"), (("-o", sounds / "in"), "is in")):
        code, _, err = run("redact", sounds, *options)
        assert code == 2
        assert says in " ".join(err.replace("│", "").split())
    (tmp_path / "file").touch()
    code, _, err = run("redact", sounds, "-o", tmp_path / "file")
    assert code == 1
    assert (tmp_path / "file").read_bytes() == b""


def test_two_recordings_never_become_one_copy(
    run: Callable[..., tuple[int, str, str]], sounds: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "0.wav").write_bytes((sounds / "0.wav").read_bytes())
    code, _, err = run(
        "redact", sounds / "0.wav", tmp_path / "other" / "0.wav", "-o", tmp_path / "other"
    )
    assert code == 2
    assert "the same copy" in " ".join(err.replace("│", "").split())
