"""A reproduction in miniature: made-up data and a recipe that only shows that everything runs."""

from __future__ import annotations

from pathlib import Path

from dcasenet.spec import Task
from dcasenet.train.data.dataset import SoundDataset
from dcasenet.train.data.fsdkaggle import FSDKaggle2019Curated
from dcasenet.train.data.nigens import TAUNigens2020
from dcasenet.train.data.urban import TAUUrban2020Mobile
from dcasenet.train.paper.miniature import build
from dcasenet.train.paper.published import RELEASED
from dcasenet.train.paper.recipe import PaperRecipe

# Table → rows that are run unless others are requested.
SMALLEST: dict[int, tuple[str, ...]] = {2: ("v3",), 3: (RELEASED,)}


def tiny_sets(folder: Path, seed: int = 0) -> dict[Task, SoundDataset]:
    """Write miniature data sets in the real layouts, and read them.

    Args:
        folder: Where to; about 120 MB.
        seed: Of the sounds and of the validation split.
    """
    where = build(folder, seed)
    return {
        "scene": TAUUrban2020Mobile(where.scene, seed=seed),
        "tag": FSDKaggle2019Curated(where.tag, seed=seed),
        "event": TAUNigens2020(where.event),
    }


def tiny_recipe(seed: int = 0) -> PaperRecipe:
    """Return the paper's recipe for a narrow network, two epochs of two steps, small batches."""
    return PaperRecipe(
        width=1 / 16,
        epochs=2,
        steps=2,
        n_scene=2,
        n_tag=2,
        n_event=2,
        restart=1,
        mixup_from=1,
        seed=seed,
    )
