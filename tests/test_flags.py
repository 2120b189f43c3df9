"""Options that are True or False are nothing else: "no" would count as True."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import dcasenet
import dcasenet.batch
from dcasenet import SoundModel
from dcasenet.batch.incremental import write_results
from dcasenet.batch.label_files import write_each
from dcasenet.inference.redact import redact
from dcasenet.onnx.export import to_onnx
from dcasenet.report.build import write_report
from dcasenet.train.data.esc import ESC10, ESC50
from dcasenet.train.data.fsdkaggle import FSDKaggle2019Curated
from dcasenet.train.data.nigens import TAUNigens2020
from dcasenet.verify import read_provenance

Call = tuple[Callable[..., Any], tuple[Any, ...]]


@pytest.fixture
def calls(tiny_model: SoundModel, tmp_path: Path) -> dict[str, Call]:
    """Name → what is called with one option more, and what it needs besides."""
    sound = tmp_path / "a.wav"
    soundfile.write(sound, 0.1 * np.random.default_rng(0).standard_normal(24_000), 24_000)
    jobs = {
        f"batch.{name}": (getattr(dcasenet.batch, name), (tiny_model, [sound], tmp_path / "o.csv"))
        for name in ("analyze", "classify_scene", "tag", "detect_events", "embed")
    }
    verbs = {
        name: (getattr(tiny_model, name), (sound,))
        for name in ("analyze", "classify_scene", "tag", "detect_events", "embed")
    }
    return {
        **verbs,
        **jobs,
        "stream": (tiny_model.stream, (24_000,)),
        "push": (tiny_model.stream(24_000).push, (np.zeros(10, np.float32),)),
        "explain": (tiny_model.explain, (sound, tiny_model.spec.tags[0])),
        "save_pretrained": (tiny_model.save_pretrained, (tmp_path / "m",)),
        "push_to_hub": (tiny_model.push_to_hub, ("a/b",)),
        "from_pretrained": (SoundModel.from_pretrained, ("v3",)),
        "load": (dcasenet.load, ()),
        "check": (dcasenet.check, (sound,)),
        "write_results": (write_results, (tiny_model, sound, tmp_path / "r.csv")),
        "write_each": (write_each, (tiny_model.tag, [sound], tmp_path / "f", "json")),
        "write_report": (write_report, (tiny_model, [sound], tmp_path / "r.html")),
        "to_onnx": (to_onnx, (tiny_model, tmp_path / "m.onnx")),
        "redact": (redact, (tiny_model, sound)),
        "ESC50": (ESC50, (tmp_path,)),
        "ESC10": (ESC10, (tmp_path,)),
        "TAUNigens2020": (TAUNigens2020, (tmp_path,)),
        "FSDKaggle2019Curated": (FSDKaggle2019Curated, (tmp_path,)),
    }


def flags(function: Callable[..., Any]) -> Iterator[str]:
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.annotation in ("bool", "bool | None"):
            yield name


def test_text_is_refused_as_every_flag(calls: dict[str, Call], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    n_flags = 0
    for function, arguments in calls.values():
        for flag in flags(function):
            for value in ("no", "", 0, None if flag != "private" else 1.0):
                with pytest.raises(ValueError, match=f"^{flag}={value!r} is neither True nor"):
                    function(*arguments, **{flag: value})
            n_flags += 1
    assert n_flags > 40
    assert sorted(tmp_path.iterdir()) == before


def test_options_of_jobs_that_are_not_in_their_signatures(
    calls: dict[str, Call], tiny_model: SoundModel
) -> None:
    function, arguments = calls["batch.detect_events"]
    for options in ({"restart": "no"}, {"decoding": {"reject": "no"}}):
        with pytest.raises(ValueError, match="'no' is neither True nor False"):
            function(*arguments, workers=0, **options)
    with pytest.raises(ValueError, match="'no' is neither True nor False"):
        tiny_model.event_query(reject="no")  # type: ignore[arg-type]


def test_numbers_and_flags_of_numpy_are_options(calls: dict[str, Call], tmp_path: Path) -> None:
    function, arguments = calls["batch.analyze"]
    numbers: dict[str, Any] = {
        "threshold": np.float32(0.4),
        "top": np.int64(2),
        "reject": np.bool_(True),
        "channels": np.int64(0),
        "max_duration": np.float32(60),
    }
    assert function(*arguments, workers=0, **numbers).n_failed == 0
    made = read_provenance(tmp_path / "o.csv")
    assert (made.options["top"], made.options["channels"]) == (2, 0)
    tiny_model, (sound,), _ = arguments
    tiny_model.detect_events(sound, min_gap=np.float32(0.5)).to_csv(tmp_path / "e.csv")
    assert read_provenance(tmp_path / "e.csv").options["min_gap"] == 0.5
