from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf

from dcasenet.errors import DcasenetError
from dcasenet.models.frontend import LogMel
from dcasenet.spec import FrontEndSettings
from dcasenet.train.data.features import FeatureStore, extract
from dcasenet.train.data.store import WaveformStore, decode_examples
from dcasenet.train.paper.batches import ClipSampler, EventSampler, PaperBatches
from dcasenet.train.paper.data import PaperData, paper_data


@pytest.fixture(scope="module")
def data(job: ModuleType, paper_folder: Path) -> PaperData:
    return paper_data(job.paper_sets(paper_folder), job.RECIPE, paper_folder)


@pytest.fixture(scope="module")
def event_store(job: ModuleType, paper_folder: Path) -> WaveformStore:
    return decode_examples(
        job.paper_sets(paper_folder)["event"].split("train"), paper_folder, 24_000
    )


@pytest.fixture(scope="module")
def features(job: ModuleType, paper_folder: Path, event_store: WaveformStore) -> FeatureStore:
    examples = job.paper_sets(paper_folder)["event"].split("train")
    return extract(examples, event_store, LogMel(FrontEndSettings()), paper_folder)


def test_the_recipe_is_the_authors(job: ModuleType) -> None:
    recipe = type(job.RECIPE)()
    assert (recipe.epochs, recipe.steps, recipe.restart) == (160, 500, 80)
    assert [recipe.batch_size(task) for task in ("scene", "event", "tag")] == [32, 24, 32]
    assert (recipe.learning_rate, recipe.lowest_rate) == (1e-3, 1e-6)
    assert (recipe.mixup, recipe.mixup_from) == (0.1, 6)  # epoch index > 5


def test_batches_have_the_shapes_they_say(job: ModuleType, data: PaperData) -> None:
    batch = PaperBatches(data.samplers, job.RECIPE, epoch=0)[0]
    assert batch["scene"].sound.shape == (2, 43_201)
    assert batch["tag"].sound.shape == (2, 43_201)
    assert batch["event"].sound.shape == (2, 128, 200)
    assert batch["event"].truth.shape == (2, 5, 2)
    assert batch["scene"].truth.sum(dim=1).tolist() == [1, 1]
    assert batch["tag"].truth.sum(dim=1).tolist() == [2, 2]


def test_every_example_comes_once_in_each_sweep(job: ModuleType, data: PaperData) -> None:
    class Numbers:
        def __len__(self) -> int:
            return 6

        def draw(self, index: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            return np.array([index]), np.array([random.integers(1_000)])

    recipe = replace(job.RECIPE, n_scene=2, steps=3)

    def epoch(number: int, **processes: int) -> list[list[int]]:
        batches = PaperBatches({"scene": Numbers()}, recipe, number, **processes)
        return [batch["scene"].sound.flatten().tolist() for batch in batches]

    first, second = epoch(0), epoch(1)
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == [0, 1, 2, 3, 4, 5]
    assert first != second
    assert first == epoch(0)
    # Two processes share one sampler: together they read what one with twice the batch does.
    halves = [epoch(0, rank=rank, n_ranks=2) for rank in (0, 1)]
    doubled = PaperBatches({"scene": Numbers()}, replace(recipe, n_scene=4), 0)
    for index, batch in enumerate(doubled):
        together = halves[0][index] + halves[1][index]
        assert batch["scene"].sound.flatten().tolist() == together


def test_short_clips_are_doubled_and_long_ones_cut_anywhere(
    job: ModuleType, paper_folder: Path
) -> None:
    sets = job.paper_sets(paper_folder)
    examples = sets["tag"].split("train")
    store = decode_examples(examples, paper_folder, 24_000)
    sampler = ClipSampler("tag", job.TAGS, examples, store, seconds=1.0)
    random = np.random.default_rng(0)
    short = store.waveform(examples[0])  # 0.4 s, doubled twice
    cut, truth = sampler.draw(0, random)
    assert len(cut) == 24_001
    assert truth.tolist() == [1, 1, 0]
    assert np.array_equal(cut[: 24_001 - len(short)], cut[len(short) :])
    scenes = sets["scene"].split("train")
    long = ClipSampler(
        "scene", job.SCENES, scenes, decode_examples(scenes, paper_folder, 24_000), 1
    )
    starts = {long.draw(0, random)[0].tobytes() for _ in range(5)}
    assert len(starts) == 5


def test_events_are_normalized_as_a_whole_and_then_cut(
    job: ModuleType, paper_folder: Path, event_store: WaveformStore, features: FeatureStore
) -> None:
    examples = job.paper_sets(paper_folder)["event"].split("train")
    whole = LogMel(FrontEndSettings())(torch.tensor(event_store.waveform(examples[1])[None]))[0]
    assert features.n_frames(examples[1]) == whole.shape[1] == 320
    cut = features.crop(examples[1], 100, 200)
    assert np.abs(cut - whole[:, 100:300].numpy()).max() < 0.01  # float16
    sampler = EventSampler(job.EVENTS, examples, features, seconds=4.0)
    for seed in range(20):
        sound, truth = sampler.draw(1, np.random.default_rng(seed))
        first = next(
            i for i in range(0, 121, 5) if np.array_equal(sound, features.crop(examples[1], i, 200))
        )
        rows = np.zeros((64, 2))
        rows[3:20, 0] = rows[10:50, 1] = 1
        expected = rows[first // 5 : first // 5 + 40].reshape(5, 8, 2).mean(axis=1)
        assert truth == pytest.approx(expected)


def test_the_loss_of_steps_is_that_of_the_rows_they_are_repeated_on() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 2, generator=random)
    rows = torch.randint(0, 2, (3, 40, 2), generator=random).float()
    upsampled = logits.sigmoid().repeat_interleave(8, dim=1)
    shares = rows.reshape(3, 5, 8, 2).mean(dim=2)
    authors = nnf.binary_cross_entropy(upsampled, rows)
    assert nnf.binary_cross_entropy_with_logits(logits, shares) == pytest.approx(float(authors))


def test_recordings_shorter_than_a_crop_are_refused(
    job: ModuleType, paper_folder: Path, features: FeatureStore
) -> None:
    examples = job.paper_sets(paper_folder)["event"].split("train")
    with pytest.raises(DcasenetError, match="None of the 2 event recordings is 30 s long"):
        EventSampler(job.EVENTS, examples, features, seconds=30.0)


def test_recordings_shorter_than_a_crop_are_counted(
    job: ModuleType,
    paper_folder: Path,
    features: FeatureStore,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    examples = job.paper_sets(paper_folder)["event"].split("train")
    n_frames = {example.key: n for example, n in zip(examples, (199, 320), strict=True)}
    monkeypatch.setattr(features, "n_frames", lambda example: n_frames[example.key])
    sampler = EventSampler(job.EVENTS, examples, features, seconds=4.0)
    assert len(sampler) == 1
    assert "1 of 2 event recordings are not trained on: they are shorter than 4 s" in caplog.text


def test_a_task_without_data_is_named(job: ModuleType, paper_folder: Path) -> None:
    sets = job.paper_sets(paper_folder)
    del sets["tag"]
    with pytest.raises(DcasenetError, match="no data set for tag; give one for each of scene"):
        paper_data(sets, job.RECIPE, paper_folder)


def test_log_mels_are_made_once(
    job: ModuleType, paper_folder: Path, event_store: WaveformStore, features: FeatureStore
) -> None:
    examples = job.paper_sets(paper_folder)["event"].split("train")

    class Broken(LogMel):
        def forward(self, waveform: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    again = extract(examples, event_store, Broken(FrontEndSettings()), paper_folder)
    assert np.array_equal(again.crop(examples[0], 0, 50), features.crop(examples[0], 0, 50))


def test_log_mels_without_their_file_are_made_again(
    job: ModuleType, paper_folder: Path, event_store: WaveformStore, tmp_path: Path
) -> None:
    examples = job.paper_sets(paper_folder)["event"].split("train")
    first = extract(examples, event_store, LogMel(FrontEndSettings()), tmp_path)
    expected = first.crop(examples[0], 0, 50)
    (path,) = tmp_path.glob("*.float16")
    path.unlink()
    again = extract(examples, event_store, LogMel(FrontEndSettings()), tmp_path)
    assert np.array_equal(again.crop(examples[0], 0, 50), expected)


def test_a_full_disk_is_reported_with_the_room_that_is_needed(
    job: ModuleType, event_store: WaveformStore, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("in the way")
    examples = job.paper_sets(event_store.path.parent)["event"].split("train")
    with pytest.raises(DcasenetError, match=r"cannot be kept in .* room for 0 MB"):
        extract(examples, event_store, LogMel(FrontEndSettings()), tmp_path / "cache")
