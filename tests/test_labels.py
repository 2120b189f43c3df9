"""Labels and AudioSet classes: every shipped label has a class, and the way back finds it."""

from __future__ import annotations

import pickle

import pytest

from dcasenet import UnknownLabelError, available_models, labels
from dcasenet.spec import TASKS


def test_the_classes_are_audiosets() -> None:
    classes = labels.audioset_classes()
    assert [entry.index for entry in classes] == list(range(527))
    assert len({entry.mid for entry in classes}) == len({entry.name for entry in classes}) == 527
    assert (classes[0].mid, classes[0].name) == ("/m/09x0r", "Speech")
    assert (classes[526].mid, classes[526].name) == ("/m/07hvw1", "Field recording")


def test_every_label_of_every_shipped_checkpoint_has_a_class() -> None:
    for spec in available_models():
        for task in TASKS:
            for label in spec.labels(task):
                matches = labels.to_audioset(label)
                assert matches, label
                for match in matches:
                    assert label in labels.from_audioset(match) or label == match.name


@pytest.mark.parametrize(
    ("label", "name", "relation"),
    [
        ("dog", "Dog", "exact"),
        ("Female_speech_and_woman_speaking", "Female speech, woman speaking", "exact"),
        ("female_scream", "Screaming", "broad"),
        ("metro", "Subway, metro, underground", "close"),
        ("Marimba_and_xylophone", "Marimba, xylophone", "exact"),
        ("street traffic", "Traffic noise, roadway noise", "close"),
        ("glass breaking", "Shatter", "close"),
        ("Bus", "Bus", "exact"),
        ("bus", "Bus", "close"),
        ("white noise", "White noise", "exact"),
        ("Keyboard_typing", "Computer keyboard", "exact"),
        ("/m/0bt9lr", "Dog", "exact"),
    ],
)
def test_to_audioset(label: str, name: str, relation: str) -> None:
    first = labels.to_audioset(label)[0]
    assert (first.name, first.relation) == (name, relation)


def test_all_names_of_audioset_map_to_themselves() -> None:
    for entry in labels.audioset_classes():
        assert labels.to_audioset(entry.name)[0].mid == entry.mid


def test_from_audioset_gives_the_best_matches_first() -> None:
    assert labels.from_audioset("Knock") == ("Knock", "knock", "door knock")
    assert labels.from_audioset("knock", "open-tags") == ("door knock",)
    assert labels.from_audioset(labels.to_audioset("insect")[0]) == ("insect", "night insects")
    assert labels.from_audioset("White noise") == ()


def test_unknown_names_say_what_is_near() -> None:
    with pytest.raises(UnknownLabelError, match=r"no label 'dgo'\. Did you mean .*'dog'"):
        labels.to_audioset("dgo")
    with pytest.raises(UnknownLabelError, match="no class of AudioSet 'Dgo'"):
        labels.from_audioset("Dgo")
    with pytest.raises(UnknownLabelError, match=r"no label set 'open'.*'open-tags'"):
        labels.from_audioset("Dog", "open")
    with pytest.raises(UnknownLabelError, match="Accepted are 'Speech', "):
        labels.from_audioset("qqqqqqqqq")


def test_the_error_crosses_process_borders() -> None:
    error = UnknownLabelError("dgo", ["dog"])
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied)) == (type(error), str(error))
    assert isinstance(error, ValueError)
