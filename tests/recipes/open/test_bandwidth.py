"""Folders differ in bandwidth; what training reads must not give the class away by it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from dcasenet.train.data.crops import crop, trim_silence
from dcasenet.train.data.store import WaveformStore
from dcasenet.train.engine import augmentation
from recipes.open.data import decode
from recipes.open.labels import CANDIDATES
from recipes.open.recipe import Recipe
from recipes.open.split import FEWEST, choose
from recipes.recordings import Recording

RATE = 24_000
RECIPE = Recipe()


@pytest.fixture(scope="module")
def source(
    real_data: Path, real_clips: list[Recording], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Recording], list[str], WaveformStore]:
    """Training clips of tags that come from several folders, one of a recording, their tags."""
    labels, _ = choose(CANDIDATES["tag"], real_clips, FEWEST["tag"])
    tag_of = {source: label.name for label in labels for source in label.sources}
    clips = [clip for clip in real_clips if clip.split == "train" and clip.label in tag_of]
    folders = {(tag_of[clip.label], clip.folder) for clip in clips}
    several = {tag for tag, n in Counter(tag for tag, _ in folders).items() if n > 1}
    seen: Counter[str] = Counter()
    chosen = []
    for clip in clips:
        seen[clip.source] += 1
        if tag_of[clip.label] in several and seen[clip.source] == 1:
            chosen.append(clip)
    store = decode(real_data, chosen, tmp_path_factory.mktemp("cache"), RATE)
    return chosen, [tag_of[clip.label] for clip in chosen], store


def roll_off(waveforms: torch.Tensor) -> list[float]:
    """Highest frequency, in Hz, within 70 dB of the strongest: where a codec or filter cuts."""
    window = torch.hamming_window(960)
    spectrum = torch.stft(waveforms, 2048, 960, 960, window, return_complex=True)
    level = 10 * torch.log10(spectrum.abs().square().mean(dim=-1) + 1e-20)
    loud = level > level.amax(dim=1, keepdim=True) - 70
    return [float(row.nonzero().max()) * RATE / 2048 for row in loud]


def test_roll_off_alone_does_not_give_the_class_away(
    source: tuple[list[Recording], list[str], WaveformStore],
) -> None:
    clips, tags, store = source
    assert len(set(tags)) >= 15
    random = np.random.default_rng(0)
    cuts = [crop(trim_silence(store.waveform(clip)), 32_768, random) for clip in clips]
    used = augmentation.low_pass(
        torch.from_numpy(np.stack(cuts)), torch.full((len(cuts),), RECIPE.max_frequency), RATE
    )
    cutoffs = augmentation.random_cutoffs(len(cuts), RECIPE.low_pass, RECIPE.low_pass_range, random)
    used = augmentation.low_pass(used, cutoffs, RATE)
    used = augmentation.noise_floor(used, RECIPE.noise, RECIPE.noise_range, random)
    found = [[frequency] for frequency in roll_off(used)]
    sources = [clip.source for clip in clips]
    folds = StratifiedGroupKFold(5)
    tree = DecisionTreeClassifier(
        max_leaf_nodes=30, min_samples_leaf=5, class_weight="balanced", random_state=0
    )
    guessed = cross_val_predict(tree, found, tags, groups=sources, cv=folds)
    # 22 tags; balanced, so that speech's many clips weigh no more than a siren's few.
    assert balanced_accuracy_score(tags, guessed) < 1 / len(set(tags)) + 0.05
