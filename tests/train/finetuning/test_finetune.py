"""The linear probe, what it is made of, and data that cannot be learned from."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard

import dcasenet
from dcasenet import DcasenetError, SoundModel, TaskNotAvailableError
from dcasenet.annotations.segments import TimedLabel, segment_activity
from dcasenet.inference import familiarity
from dcasenet.models.dcasenet import create
from dcasenet.models.frontend import LogMel
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.spec import FrontEndSettings, ModelSpec, Task
from dcasenet.text import markdown
from dcasenet.train import AudioFolder, Example, LabeledEvent, SoundDataset, finetune, untrained
from dcasenet.train.metrics.events import event_counts, score_of, segment_counts
from dcasenet.weights.model_card import model_card
from tests.fixtures.lightning_noise import LIGHTNING

pytestmark = LIGHTNING
RATE = 24_000


def sound(label: str, seed: int, seconds: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    n = round(seconds * RATE)
    hiss = 0.1 * random.standard_normal(n)
    hum = 0.3 * np.sin(np.arange(n) * random.uniform(0.02, 0.03)) + 0.001 * hiss
    return {"hiss": hiss, "hum": hum}[label].astype(np.float32)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("my_sounds")
    for label in ("hiss", "hum"):
        (folder / label).mkdir()
        for take in range(6):
            soundfile.write(folder / label / f"{take}.wav", sound(label, take), RATE)
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> SoundDataset:
    folder = tmp_path_factory.mktemp("events")
    examples = []
    for take in range(6):
        audio = sound("hum", take, 8.0)
        onsets = (0.8 + 0.8 * (take % 3), 5.6)
        for onset in onsets:
            audio[round(onset * RATE) :][: round(1.6 * RATE)] += sound("hiss", take, 1.6)
        soundfile.write(folder / f"{take}.wav", audio, RATE)
        events = tuple(LabeledEvent("hiss", onset, onset + 1.6) for onset in onsets)
        examples.append(Example(folder / f"{take}.wav", events=events))
    return SoundDataset("hisses", "event", ("hiss",), examples)


@pytest.fixture(scope="module")
def model() -> SoundModel:
    spec = ModelSpec(
        "v3",
        "base",
        width=1 / 16,
        scenes=("in", "out"),
        tags=("a", "b", "c"),
        events=("x", "y"),
        thresholds={"x": 0.3, "y": 0.3},
        license="CC-BY-4.0",
        training_data="a walk in the park",
        metrics={"tag": {"lwlrap": 0.5}},
        frontend=FrontEndSettings(normalization="fixed"),
    )
    frontend = LogMel(spec.frontend)
    frontend.mean -= 8.0
    frontend.deviation *= 4.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create("v3", n_scenes=2, n_tags=3, n_events=2, width=1 / 16)
    return SoundModel(spec, frontend, network)


def test_a_probe_learns_answers_and_leaves_the_other_tasks(
    model: SoundModel, sounds: Path, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    tuned = finetune(model, sounds, "scene")
    assert tuned.spec.metrics["scene"]["validation_accuracy"] == 1.0
    assert tuned.spec.heads == {"scene": "linear"}
    tuned.save_pretrained(tmp_path / "mine")
    again = dcasenet.load(tmp_path / "mine")
    for label in ("hiss", "hum"):
        audio = sound(label, 99, 12.0)
        scene = again.classify_scene(audio, RATE)
        assert scene.label == label
        assert scene.windows.shape == (4, 2)  # 5 s every 2.5 s, one at the end: the scene's rule
        np.testing.assert_allclose(
            scene.values, tuned.classify_scene(audio, RATE).values, atol=1e-6
        )
        one, two = again.analyze(audio, RATE), model.analyze(audio, RATE)
        np.testing.assert_allclose(one.tags.values, two.tags.values, atol=1e-6)
        assert one.events.labels == two.events.labels
    assert again.spec.metrics["tag"] == {"lwlrap": 0.5}
    assert again.spec.license == "CC-BY-4.0"
    assert again.spec.training_data.endswith("a walk in the park")
    assert model.spec.scenes == ("in", "out")  # the model that was given is as it was
    for name, value in model.network.state_dict().items():
        assert torch.equal(before[name], value), name
    first, copied = (m.network.trunk[0].conv1.weight for m in (model, tuned))
    assert first.data_ptr() != copied.data_ptr()  # nothing is shared


def test_the_same_seed_gives_the_same_probe(model: SoundModel, sounds: Path) -> None:
    one, two = (finetune(model, sounds, "scene", seed=1) for _ in range(2))
    assert torch.equal(one.network.linear["scene"].weight, two.network.linear["scene"].weight)
    finetune(one, sounds, "scene")  # a linear head takes the place of a linear head


def test_tags_from_class_folders(model: SoundModel, sounds: Path) -> None:
    tuned = finetune(model, sounds, "tag")
    assert tuned.spec.metrics["tag"]["validation_map"] == 1.0
    assert tuned.tag(sound("hiss", 77), RATE)[0].label == "hiss"
    assert tuned.classify_scene(sound("hiss", 77), RATE).labels == ("in", "out")


def test_events_step_by_step_with_thresholds_of_their_own(
    model: SoundModel, recordings: SoundDataset
) -> None:
    tuned = finetune(model, recordings, "event", validation=0.3)
    assert tuned.spec.metrics["event"]["validation_segment_f1_1s"] > 0.9
    assert set(tuned.spec.thresholds) == {"hiss"}
    audio = sound("hum", 50, 8.0)
    audio[round(4.0 * RATE) : round(5.6 * RATE)] += sound("hiss", 50, 1.6)
    (event,) = tuned.detect_events(audio, RATE)
    assert (event.onset, event.offset) == pytest.approx((4.0, 5.6), abs=0.81)


def decoded_alone(
    tuned: SoundModel, examples: list[Example]
) -> tuple[list[list[TimedLabel]], list[list[TimedLabel]]]:
    """True and detected events of recordings, by what a user would call."""
    found = [tuned.detect_events(example.path) for example in examples]
    return (
        [[(0, e.onset, e.offset) for e in example.events or ()] for example in examples],
        [[(0, e.onset, e.offset) for e in events] for events in found],
    )


@pytest.mark.parametrize("freeze", ["trunk", "none"])
def test_the_figures_of_events_are_those_of_what_is_detected(
    model: SoundModel, recordings: SoundDataset, freeze: Literal["trunk", "none"]
) -> None:
    # Steps of 0.16 s straddle the seconds.
    spec = dataclasses.replace(model.spec, hysteresis=0.05, time_pooling=1)
    sizes = {"n_scenes": 2, "n_tags": 3, "n_events": 2}
    fine = create("v3", **sizes, width=1 / 16, time_pooling=1)
    base = SoundModel(spec, model.frontend, fine)
    examples = [
        dataclasses.replace(e, split="validation" if k < 3 else "train")
        for k, e in enumerate(recordings)
    ]
    data = SoundDataset("hisses", "event", ("hiss",), examples)
    tuned = finetune(base, data, "event", freeze=freeze, epochs=1, batch_size=4)
    assert tuned.spec.hysteresis == 1.0
    true, found = decoded_alone(tuned, examples[:3])
    by_segment = sum(
        segment_counts(segment_activity(t, 1, 8.0), segment_activity(f, 1, 8.0))
        for t, f in zip(true, found, strict=True)
    )
    by_event = sum(
        event_counts(t, f, 1, 0.2, offset_share=None) for t, f in zip(true, found, strict=True)
    )
    figures = tuned.spec.metrics["event"]
    for name, counts in (("segment_{}_1s", by_segment), ("event_{}_200ms", by_event)):
        score = score_of(np.asarray(counts)[0])
        assert figures[f"validation_{name.format('f1')}"] == round(score.f1, 4)
        assert figures[f"validation_{name.format('error_rate')}"] == round(score.error_rate, 4)


def test_the_card_says_that_the_validation_split_also_chose(
    model: SoundModel, sounds: Path, recordings: SoundDataset
) -> None:
    scene = finetune(model, sounds, "scene")
    assert "The weight decay was chosen on these same recordings" in scene.spec.protocol
    assert "so the figures are optimistic" in model_card(scene.spec, "mine")
    events = finetune(model, recordings, "event", freeze="none", epochs=1, batch_size=4)
    assert "The epoch and thresholds were chosen on these same" in events.spec.protocol
    untested = finetune(model, sounds, "scene", validation=0.0)
    assert "chosen on" not in untested.spec.protocol


def test_familiarity_is_kept_as_long_as_the_backbone_is(model: SoundModel, sounds: Path) -> None:
    random = np.random.default_rng(0)
    around = random.standard_normal((40, model.spec.embedding_size)).astype(np.float32)
    spec = dataclasses.replace(model.spec, familiarity=familiarity.fit(around, around, rank=4))
    knowing = SoundModel(spec, model.frontend, model.network)
    audio = sound("hum", 5, 3.0)
    tuned = finetune(knowing, sounds, "scene")
    before, after = (m.tag(audio, RATE, reject=True) for m in (knowing, tuned))
    assert before.familiarity is not None
    assert (after.familiarity, after.is_sure) == (before.familiarity, before.is_sure)
    trained = finetune(knowing, sounds, "scene", freeze="none", epochs=1, batch_size=4)
    assert trained.spec.familiarity is None
    # Of recordings that are nothing like what it knows, it would never be sure.
    spec = dataclasses.replace(
        spec, familiarity=familiarity.fit(around + 100, around + 100, rank=4)
    )
    elsewhere = SoundModel(spec, model.frontend, model.network)
    assert not elsewhere.classify_scene(audio, RATE).is_sure
    tuned = finetune(elsewhere, sounds, "scene")
    assert tuned.spec.familiarity is None
    assert tuned.classify_scene(audio, RATE).is_sure


def test_figures_name_the_data_that_they_are_of(model: SoundModel, sounds: Path) -> None:
    model.spec = dataclasses.replace(model.spec, datasets=("parks",))
    tuned = finetune(model, sounds, "scene")
    assert tuned.spec.datasets == (sounds.name, "parks")
    assert tuned.spec.measured_on == {"scene": sounds.name, "tag": "parks"}
    again = finetune(tuned, sounds, "tag")
    assert again.spec.measured_on == {"scene": sounds.name, "tag": sounds.name}
    results = ModelCard(model_card(tuned.spec, "mine")).data.eval_results
    named = {(result.metric_type, result.dataset_name) for result in results}
    assert {("lwlrap", "parks"), ("accuracy", markdown(sounds.name))} <= named


def test_of_a_composed_model_the_tasks_own_backbone_is_probed(sounds: Path, tmp_path: Path) -> None:
    def member(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return create("v3", n_scenes=2, n_tags=3, n_events=2, width=1 / 16).eval()

    spec = ModelSpec(
        "v3",
        "several",
        width=1 / 16,
        scenes=("in", "out"),
        tags=("a", "b", "c"),
        events=("x", "y"),
        thresholds={"x": 0.3, "y": 0.3},
        members={"scene": "for-scene", "tag": "for-tag"},
        tasks=("scene", "tag"),
    )
    loaders = {"scene": lambda: member(1), "tag": lambda: member(2)}
    model = SoundModel(spec, LogMel(spec.frontend), ComposedNetwork(loaders))
    tuned = finetune(model, sounds, "scene")
    log_mel = torch.randn(1, 128, 90)
    with torch.inference_mode():
        own = member(1)(log_mel, tasks=()).embedding
        torch.testing.assert_close(tuned.network.member("scene")(log_mel, ()).embedding, own)
    tuned.save_pretrained(tmp_path)
    again = dcasenet.load(tmp_path)
    audio = sound("hum", 9)
    assert again.classify_scene(audio, RATE).label == "hum"
    np.testing.assert_allclose(
        again.tag(audio, RATE).values, model.tag(audio, RATE).values, atol=1e-6
    )
    with pytest.raises(TaskNotAvailableError):
        finetune(model, dataset(sounds, "event"), "event")
    whole = finetune(model, sounds, "tag", freeze="none", epochs=1, batch_size=4)
    assert whole.spec.tasks == ("tag",)
    assert not whole.spec.members


def dataset(folder: Path, task: Task = "scene", **changes: object) -> SoundDataset:
    examples = [
        Example(path, scene=path.parent.name, tags=(path.parent.name,), events=())
        for path in sorted(folder.rglob("*.wav"))
    ]
    values = {"labels": ("hiss", "hum"), "examples": examples, **changes}
    return SoundDataset("mine", task, values["labels"], values["examples"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("hiss",), r"1 label\(s\) \(hiss\); scene needs 2"),
        (("hiss", "hum", "hum"), "lists labels twice: hum"),
        (("hiss", "hum", "Hum"), "'hum' and 'Hum' differ in capitals"),
        (("hiss", "hymn"), r"unknown labels: 'hum' \(6 recordings\). Its labels are hiss, hymn"),
        (("hiss", "hum", "roar"), r"nothing to learn some labels from: 'roar' \(usable: 0 of 0\)"),
    ],
)
def test_labels_that_cannot_be(
    model: SoundModel, sounds: Path, labels: tuple[str, ...], says: str
) -> None:
    with pytest.raises(DcasenetError, match=says):
        finetune(model, dataset(sounds, labels=labels), "scene")


def test_a_label_in_the_validation_split_alone_is_reported(model: SoundModel, sounds: Path) -> None:
    examples = [
        dataclasses.replace(e, split="validation" if e.scene == "hum" else "train")
        for e in dataset(sounds)
    ]
    says = r"'hum' \(usable: 6 of 6\)\. 'hum' has recordings in the validation split alone: move"
    with pytest.raises(DcasenetError, match=says):
        finetune(model, dataset(sounds, examples=examples), "scene")


def test_arguments_that_cannot_be(model: SoundModel, sounds: Path) -> None:
    for options, says in (
        ({"task": "speech"}, "no task 'speech'"),
        ({"task": "scene", "freeze": "head"}, "freeze='head' is not known; give one of trunk, non"),
        ({"task": "event"}, "Class folders say nothing of when"),
        ({"task": "scene", "epochs": 0}, "epochs=0 is out of range"),
        ({"task": "scene", "learning_rate": 7.0}, r"learning_rate=7\.0 is out of range"),
        ({"task": "scene", "validation": 1.0}, "share for validation is 1.0"),
    ):
        with pytest.raises(ValueError, match=says):
            finetune(model, **{"data": sounds, **options})  # type: ignore[arg-type]
    with pytest.raises(DcasenetError, match="labeled for scene, and the task is tag"):
        finetune(model, dataset(sounds), "tag")


def test_examples_without_the_label_of_the_task(model: SoundModel, sounds: Path) -> None:
    examples = [dataclasses.replace(e, tags=None) for e in dataset(sounds)]
    with pytest.raises(DcasenetError, match=r"does not say which tag 12 of its 12 recordings"):
        finetune(model, dataset(sounds, "tag", examples=examples), "tag")


def test_a_class_of_one_clip_is_for_training(
    model: SoundModel, sounds: Path, caplog: pytest.LogCaptureFixture
) -> None:
    examples = [e for e in dataset(sounds) if e.scene == "hiss" or e.path.stem == "0"]
    tuned = finetune(model, dataset(sounds, examples=examples), "scene")
    assert re.search("hum.*one recording", caplog.text)
    assert tuned.classify_scene(sound("hum", 0), RATE).label == "hum"


def test_clips_that_cannot_be_used_are_named_and_left_out(
    model: SoundModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for label in ("hiss", "hum"):
        (tmp_path / label).mkdir()
        for take in range(3):
            soundfile.write(tmp_path / label / f"{take}.wav", sound(label, take), RATE)
    (tmp_path / "hum" / "bad.wav").write_bytes(b"no audio")
    soundfile.write(tmp_path / "hiss" / "still.wav", np.zeros(RATE), RATE)
    finetune(model, tmp_path, "scene")
    assert "bad.wav is left out" in caplog.text
    assert "still.wav is left out: it is silent" in caplog.text
    for path in (tmp_path / "hum").iterdir():
        path.write_bytes(b"no audio")
    with pytest.raises(DcasenetError, match=r"'hum' \(usable: 0 of 4\)"):
        finetune(model, tmp_path, "scene")
    held = next(e.path for e in AudioFolder(tmp_path).split("validation") if e.scene == "hum")
    soundfile.write(held, sound("hum", 0), RATE)
    with pytest.raises(DcasenetError, match=r"'hum' has recordings in the validation split alone"):
        finetune(model, tmp_path, "scene")
    held.write_bytes(b"no audio")
    for path in (tmp_path / "hiss").iterdir():
        path.write_bytes(b"no audio")
    with pytest.raises(DcasenetError, match="None of the 8 recordings can be used"):
        finetune(model, tmp_path, "scene")


def test_weights_that_are_not_finite(sounds: Path) -> None:
    broken = untrained("v3", width=1 / 16)
    with torch.no_grad():
        broken.network.tag_gru.weight_ih_l0.fill_(torch.nan)
    with pytest.raises(DcasenetError, match="embeddings of v3 'untrained' are not finite"):
        finetune(broken, sounds, "scene")


def test_without_the_extra_it_says_what_to_type(sounds: Path) -> None:
    code = f"""
import sys
for missing, freeze in (("scipy", "trunk"), ("lightning", "none")):
    for name in [name for name in sys.modules if name.startswith("dcasenet.train")]:
        del sys.modules[name]
    sys.modules[missing] = None
    try:
        from dcasenet.train import finetune, untrained
        finetune(untrained(width=1/16), {str(sounds)!r}, "scene", freeze=freeze)
    except ImportError as error:
        print(error)
    del sys.modules[missing]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line, missing in zip(done.stdout.splitlines(), ("scipy", "lightning"), strict=True):
        assert line.endswith(f"needs {missing}. Type: pip install 'dcasenet[train]'")
