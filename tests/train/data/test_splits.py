from pathlib import Path

import pytest

from dcasenet.train.data.dataset import Example, LabeledEvent
from dcasenet.train.data.splits import hold_out, keep_apart


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


def test_a_label_of_one_recording_trains_and_is_named() -> None:
    moved, remarks = hold_out([clip("a", scene="a"), clip("b", scene="b")], 0.5, 0)
    assert {example.split for example in moved} == {"train"}
    assert remarks == ["Validation has none of a, b: one recording, which trains."]


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
