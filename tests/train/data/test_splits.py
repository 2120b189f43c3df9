from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dcasenet.errors import DcasenetError
from dcasenet.train.data.dataset import Example, LabeledEvent
from dcasenet.train.data.splits import hold_out, k_folds, keep_apart


def clip(name: str, recording: str = "", split: str = "train", **truth: object) -> Example:
    return Example(Path(name), split=split, recording=recording, **truth)  # type: ignore[arg-type]


def held(examples: list[Example], share: float = 0.2, seed: int = 0) -> list[str]:
    moved, _ = hold_out(examples, share, seed)
    return sorted(example.path.name for example in moved if example.split == "validation")


def test_every_label_gives_its_share() -> None:
    examples = [clip(f"{label}{i}", scene=label) for label in "ab" for i in range(10)]
    names = held(examples)
    assert [name[0] for name in names] == ["a", "a", "b", "b"]


def test_order_and_number_of_examples_stay() -> None:
    examples = [clip(f"{i}", scene="a") for i in range(10)]
    moved, _ = hold_out(examples, 0.5, 0)
    assert [example.path for example in moved] == [example.path for example in examples]


def test_the_order_of_the_examples_does_not_matter() -> None:
    examples = [clip(f"{i}", scene="ab"[i % 2]) for i in range(20)]
    assert held(examples) == held(examples[::-1])
    assert held(examples) != held(examples, seed=1)


def test_a_recording_is_in_one_split() -> None:
    examples = [clip(f"{r}{i}", recording=r, scene="a") for r in "pqrst" for i in range(3)]
    names = held(examples)
    assert len(names) == 3
    assert len({name[0] for name in names}) == 1


def test_the_share_is_of_examples_by_whole_recordings() -> None:
    """Of recordings of 32 and 8 clips a fifth of the clips is the smaller, whatever the seed."""
    examples = [clip(f"p{i}", recording="p", scene="a") for i in range(32)]
    examples += [clip(f"q{i}", recording="q", scene="a") for i in range(8)]
    for seed in range(8):
        assert {name[0] for name in held(examples, seed=seed)} == {"q"}
    # None is as small as a twentieth: the smallest is taken.
    assert {name[0] for name in held(examples, share=0.05)} == {"q"}
    many = [clip(f"{r}{i}", recording=str(r), scene="a") for r in range(30) for i in range(1 + r)]
    assert len(many) == 465
    assert 60 <= len(held(many)) <= 93


def test_a_recording_counts_under_its_rarest_label() -> None:
    often = [clip(f"o{i}", tags=("often",)) for i in range(10)]
    seldom = [clip(f"s{i}", tags=("often", "seldom")) for i in range(2)]
    names = held([*often, *seldom], share=0.1)
    assert [name[0] for name in names] == ["o", "s"]


def test_events_are_labels_too() -> None:
    examples = [clip(f"e{i}", events=(LabeledEvent("dog", 0, 1),)) for i in range(2)]
    nothing = [clip(f"n{i}", events=()) for i in range(2)]
    assert [name[0] for name in held([*examples, *nothing])] == ["e", "n"]


def test_never_all_of_a_label() -> None:
    examples = [clip(f"{i}", scene="a") for i in range(3)]
    assert len(held(examples, share=0.99)) == 2


# "b" shares every recording with a label that is rarer.
SHARED = [clip(name, tags=tuple(name)) for name in ("ab", "bc", "bd", "be", "a", "c", "d", "e")]


def test_a_label_that_is_nobodys_rarest_is_in_both_splits() -> None:
    for seed in range(100):
        moved, remarks = hold_out(SHARED, 0.4, seed)
        for split in ("train", "validation"):
            assert {tag for e in moved if e.split == split for tag in e.tags or ()} == {*"abcde"}
        assert remarks == []


def test_where_no_split_has_every_label_training_has() -> None:
    triangle = [clip(name, tags=tuple(name)) for name in ("ab", "bc", "ca")]
    for seed in range(20):
        moved, remarks = hold_out(triangle, 0.3, seed)
        trained = {tag for e in moved if e.split == "train" for tag in e.tags or ()}
        held_out = {tag for e in moved if e.split == "validation" for tag in e.tags or ()}
        assert trained == {*"abc"}
        (missing,) = {*"abc"} - held_out
        assert remarks == [
            f"Nothing of {missing} is held out for validation: its recordings are also those of "
            "labels that need them to train."
        ]


def test_every_label_is_in_every_fold_that_it_has_recordings_for() -> None:
    random = np.random.default_rng(0)
    for seed in range(100):
        examples = [
            clip(f"{seed}-{i}", tags=("b", *random.choice([*"acdef"], 2, replace=False)))
            for i in range(12)
        ] + [clip(f"{seed}-more-{i}", tags=("acdef"[i % 5],)) for i in range(15)]
        folds = k_folds(examples, 3, seed)
        assert sorted(e.key for fold in folds for e in fold) == sorted(e.key for e in examples)
        for fold in folds:
            tags = Counter(tag for e in fold for tag in e.tags or ())
            assert {*tags} == {*"abcdef"}
            assert 2 <= tags["b"] <= 6
    for seed in range(100):
        folds = k_folds(SHARED, 4, seed)
        for tag in "abcde":
            assert sum(any(tag in (e.tags or ()) for e in fold) for fold in folds) > 1


def test_a_label_in_one_fold_alone_is_refused() -> None:
    triangle = [clip(name, tags=tuple(name)) for name in ("ab", "bc", "ca")]
    with pytest.raises(DcasenetError, match=r"With 2 folds all recordings of . are in one fold"):
        k_folds(triangle, 2, seed=0)
    assert [len(fold) for fold in k_folds(triangle, 3, seed=0)] == [1, 1, 1]


def test_a_label_of_one_recording_trains_and_is_named() -> None:
    moved, remarks = hold_out([clip("a", scene="a"), clip("b", scene="b")], 0.5, 0)
    assert {example.split for example in moved} == {"train"}
    assert remarks == [
        "Nothing of a, b is held out for validation: there is one recording, for training."
    ]


def test_other_splits_stay() -> None:
    examples = [clip(f"{i}", split="test", scene="a") for i in range(10)]
    assert hold_out(examples, 0.5, 0) == (examples, [])


@pytest.mark.parametrize("share", [-0.1, 1, 20])
def test_a_share_is_below_one(share: float) -> None:
    with pytest.raises(ValueError, match=f"share for validation is {share}"):
        hold_out([], share, 0)


def test_later_splits_come_first() -> None:
    examples = [
        clip("a", "1"), clip("b", "1", "validation"), clip("c", "2", "test"), clip("d", "2"),
        clip("e", "2", "validation"), clip("f", "3"),
    ]  # fmt: skip
    kept, left_out = keep_apart(examples)
    assert [example.path.name for example in kept] == ["b", "c", "f"]
    assert len(left_out) == 3
    assert "a is not used for train: its recording 1 is in the validation split" in left_out[0]
