import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcasenet.annotations.segments import segment_activity
from dcasenet.errors import DcasenetError
from dcasenet.inference.model import SoundModel
from dcasenet.train.data.dataset import Example, LabeledEvent, SoundDataset
from dcasenet.train.paper.protocol import paper_events, paper_scene, paper_tags
from dcasenet.train.paper.segment_score import paper_segment_score

RATE = 24_000


@pytest.fixture
def wavs(write_wav: Callable[..., Path], noise: Callable[..., np.ndarray]) -> list[Path]:
    return [write_wav(f"{k}.wav", noise(RATE * 6, k)) for k in range(3)]


def test_scenes(tiny_model: SoundModel, wavs: list[Path]) -> None:
    answers = [answer.label for answer in tiny_model.classify_scene(wavs)]
    wrong = next(label for label in tiny_model.spec.scenes if label != answers[2])
    examples = [
        Example(path, "test", scene=scene)
        for path, scene in zip(wavs, [answers[0], answers[1], wrong], strict=True)
    ]
    # The data set's order of labels is its own.
    data = SoundDataset("mine", "scene", tiny_model.spec.scenes[::-1], examples)
    report = paper_scene(tiny_model, data)
    assert report.paper == {"accuracy": pytest.approx(2 / 3)}
    assert report.standard["accuracy"] == report.paper["accuracy"]
    assert (report.files, report.recordings) == (3, 3)
    assert report.per_label[wrong]["recall"] < 1
    assert report.intervals["accuracy"].low <= 2 / 3 <= report.intervals["accuracy"].high


def test_tags(tiny_model: SoundModel, wavs: list[Path]) -> None:
    ranked = [[scored.label for scored in tiny_model.tag(path)] for path in wavs]
    examples = [
        Example(wavs[0], "test", tags=(ranked[0][0],)),
        Example(wavs[1], "test", tags=(ranked[1][1],), recording="both"),
        Example(wavs[2], "test", tags=(ranked[2][0], ranked[2][3]), recording="both"),
    ]
    report = paper_tags(tiny_model, SoundDataset("mine", "tag", tiny_model.spec.tags, examples))
    assert report.paper["lwlrap"] == pytest.approx((1 + 0.5 + 1 + 0.5) / 4)
    assert (report.files, report.recordings) == (3, 2)


def test_tags_are_ranked_where_probabilities_are_equal(
    tiny_model: SoundModel, wavs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = np.array([[30.0, 40.0, 50.0, -1.0, 0.0]], np.float32)  # three are 1 in float32
    monkeypatch.setattr(tiny_model, "infer", lambda *_: {"tag": logits})
    tags = tiny_model.spec.tags
    data = SoundDataset("mine", "tag", tags, [Example(wavs[0], "test", tags=(tags[2],))])
    assert paper_tags(tiny_model, data).paper["lwlrap"] == 1


@pytest.fixture
def microphones(
    write_wav: Callable[..., Path], noise: Callable[..., np.ndarray]
) -> tuple[Path, ...]:
    """Two recordings of 10 s, four channels each."""
    return tuple(
        write_wav(f"mic{k}.wav", np.stack([noise(RATE * 10, 10 * k + c) for c in range(4)]))
        for k in range(2)
    )


def channels(paths: tuple[Path, ...], labels: tuple[str, ...], n: int = 4) -> list[Example]:
    events = tuple(LabeledEvent(label, 1.0, 4.0) for label in labels[:2])
    return [Example(p, "test", events=events, channel=c) for p in paths for c in range(n)]


def biased(model: SoundModel) -> SoundModel:
    """The model with event probabilities around the threshold."""
    copy = SoundModel(model.spec, model.frontend, model.network)
    plain = copy.infer

    def infer(waveforms: np.ndarray, tasks: object, backbone: str = "tag") -> dict[str, np.ndarray]:
        given = plain(waveforms, ["event"])["event"]
        return {"event": (given - given.mean(axis=1, keepdims=True)) * 30 - 0.85}

    copy.infer = infer  # type: ignore[method-assign]
    return copy


def test_events_are_the_mean_of_four_microphones(
    tiny_model: SoundModel, microphones: tuple[Path, ...]
) -> None:
    model, labels = biased(tiny_model), tiny_model.spec.events
    report = paper_events(
        model, SoundDataset("mine", "event", labels, channels(microphones, labels))
    )
    seen = [model.detect_events(path, channels="each") for path in microphones]
    active = np.concatenate([answer.probabilities > 0.3 for answer in seen])
    assert 0.1 < active.mean() < 0.9
    truth = segment_activity([(0, 1.0, 4.0), (1, 1.0, 4.0)], 3, 10.0, 0.1)
    expected = paper_segment_score(np.concatenate([truth, truth]), active)
    assert report.paper["paper_f1"] == pytest.approx(expected.f1)
    assert report.paper["paper_error_rate"] == pytest.approx(expected.error_rate)
    assert (report.files, report.recordings, report.incomplete) == (2, 2, 0)
    # Fine-tuning and the recipes have an event_f1_200ms that compares onsets alone.
    by_event = {"event_f1_200ms_with_offset", "event_f1_800ms_with_offset"}
    assert {"segment_f1_1s", "segment_error_rate_5s", *by_event} <= set(report.standard)
    assert not set(report.paper) & set(report.standard)
    assert np.isnan(report.per_label[labels[2]]["f1"])


def test_every_microphone_is_evaluated_by_itself(
    tiny_model: SoundModel, microphones: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, labels = biased(tiny_model), tiny_model.spec.events
    seen: list[int] = []
    plain = model.infer

    def infer(waveforms: np.ndarray, tasks: object, backbone: str = "tag") -> dict[str, np.ndarray]:
        seen.append(len(waveforms))
        return plain(waveforms, tasks, backbone)

    monkeypatch.setattr(model, "infer", infer)
    paper_events(model, SoundDataset("mine", "event", labels, channels(microphones, labels)))
    assert sum(seen) == 2 * 4


def test_a_missing_microphone_counts_as_nothing(
    tiny_model: SoundModel, microphones: tuple[Path, ...]
) -> None:
    model, labels = biased(tiny_model), tiny_model.spec.events
    data = SoundDataset("mine", "event", labels, channels(microphones, labels, n=1))
    report = paper_events(model, data)
    assert report.incomplete == 2
    # A quarter of any probability is under the threshold.
    assert report.paper == {"paper_f1": 0.0, "paper_error_rate": 1.0}


def test_a_file_without_channels_is_evaluated_as_it_is(
    tiny_model: SoundModel, microphones: tuple[Path, ...]
) -> None:
    model, labels = biased(tiny_model), tiny_model.spec.events
    examples = [dataclasses.replace(e, channel=None) for e in channels(microphones, labels, n=1)]
    report = paper_events(model, SoundDataset("mine", "event", labels, examples))
    assert report.incomplete == 0
    assert report.paper["paper_f1"] > 0


@pytest.mark.parametrize(
    ("labels", "split", "task", "message"),
    [
        (("park", "moon"), "test", "scene", "does not know moon"),
        (("park",), "train", "scene", "nothing in the split train.*one of test"),
        (("park",), "test", "tag", "labeled for the task tag"),
    ],
)
def test_what_does_not_fit_is_refused(
    tiny_model: SoundModel, labels: tuple[str, ...], split: str, task: str, message: str
) -> None:
    data = SoundDataset("mine", task, labels, [Example(Path("a.wav"), "test", scene="park")])
    with pytest.raises(DcasenetError, match=message):
        paper_scene(tiny_model, data, split)
