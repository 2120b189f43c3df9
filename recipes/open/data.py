"""The open three-task data set, put together: clips, labels, events, backgrounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcasenet.spec import TASKS, Task
from dcasenet.train.data.bursts import bursts
from dcasenet.train.data.dataset import Split
from dcasenet.train.data.decoding import Settings, Source
from dcasenet.train.data.soundscapes import Burst, Mix, Mixer
from dcasenet.train.data.store import WaveformStore, decode_sources
from recipes.open.labels import BACKGROUNDS, CANDIDATES
from recipes.open.split import FEWEST, FEWEST_OF_BENCHMARK, Fate, Label, choose, read_clips
from recipes.recordings import Recording

SAMPLE_RATE = 24_000  # Hz, the network's


@dataclass(frozen=True)
class OpenData:
    """The open data set.

    Attributes:
        clips: Every clip that may be used and can be read.
        store: Their waveforms.
        labels: Task → labels kept, in the order of the network's outputs.
        fates: Task → what became of each candidate label. For events, only recordings in which
            the gate found a burst count.
        bursts: Isolated events, of all splits.
        gated: Clips left out of the events because they have no clear onset.
    """

    clips: tuple[Recording, ...]
    store: WaveformStore
    labels: dict[Task, tuple[Label, ...]]
    fates: dict[Task, tuple[Fate, ...]]
    bursts: tuple[Burst[Recording], ...]
    gated: tuple[Recording, ...]

    def names(self, task: Task) -> tuple[str, ...]:
        """Return the labels of a task as people read them."""
        return tuple(label.name for label in self.labels[task])

    def index_of(self, task: Task) -> dict[str, int]:
        """Map ``"folder/label"`` to the index of the task's label."""
        return {source: i for i, label in enumerate(self.labels[task]) for source in label.sources}

    def backgrounds(self, split: Split) -> list[Recording]:
        """Return the clips that soundscapes of a split are laid over."""
        return [clip for clip in self.clips if clip.split == split and clip.label in BACKGROUNDS]

    def mixer(self, split: Split, mix: Mix) -> Mixer[Recording]:
        """Return the mixer of a split's own events and backgrounds."""
        events = [burst for burst in self.bursts if burst.clip.split == split]
        return Mixer(events, self.backgrounds(split), self.store, mix)

    def used_clips(self, split: Split) -> list[Recording]:
        """Return the clips of a split that any task uses: as itself, as event or as background."""
        sources = {*self.index_of("scene"), *self.index_of("tag"), *BACKGROUNDS}
        cut = {burst.clip for burst in self.bursts}
        return [c for c in self.clips if c.split == split and (c.label in sources or c in cut)]


def open_data(root: Path, cache: Path, fold: int | None = None) -> OpenData:
    """Read, decode, gate and choose: from the raw data folders to the three-task data set.

    Args:
        root: Folder of the data folders (`recipes.open.split.FOLDERS`).
        cache: Where the decoded audio is kept.
        fold: Of a benchmark run; see `recipes.open.split.read_clips`.

    Raises:
        DcasenetError: A table is missing, or nothing can be read.
    """
    clips = read_clips(root, fold)
    store = decode(root, clips, cache, SAMPLE_RATE)
    readable = [clip for clip in clips if clip in store]
    return assemble(readable, store, FEWEST if fold is None else FEWEST_OF_BENCHMARK)


def assemble(
    clips: Sequence[Recording],
    store: WaveformStore,
    fewest: Mapping[Task, Mapping[Split, int]] = FEWEST,
) -> OpenData:
    """Gate and choose: from decoded clips to the three-task data set.

    Args:
        clips: What there is.
        store: Their waveforms.
        fewest: Fewest source recordings of a label, by task and split.
    """
    labels: dict[Task, tuple[Label, ...]] = {}
    fates: dict[Task, tuple[Fate, ...]] = {}
    gated: list[Recording] = []
    for task in TASKS:
        able = clips
        if task == "event":
            every = [Label(c.name, c.sources) for c in CANDIDATES[task]]
            found, gated = find_bursts(clips, every, store)
            able = list(dict.fromkeys(burst.clip for burst in found))
        kept, fate = choose(CANDIDATES[task], able, fewest[task])
        labels[task], fates[task] = tuple(kept), tuple(fate)
    bursts, _ = find_bursts(clips, labels["event"], store)
    return OpenData(tuple(clips), store, labels, fates, tuple(bursts), tuple(gated))


def decode(root: Path, clips: Sequence[Recording], folder: Path, sample_rate: int) -> WaveformStore:
    """Decode the clips of the open data set, resampled by soxr; otherwise as `decode_examples`.

    Args:
        root: Folder of the data folders.
        clips: What to decode.
        folder: Where the cache is, made if need be.
        sample_rate: Rate to resample to, in Hz.

    Raises:
        DcasenetError: None of the clips can be used, or the cache cannot be written.
    """
    sources = [Source(clip.key, clip.path(root)) for clip in clips]
    return decode_sources(sources, folder, Settings(sample_rate))


def find_bursts(
    clips: Sequence[Recording], labels: Sequence[Label], store: WaveformStore
) -> tuple[list[Burst[Recording]], list[Recording]]:
    """Cut the events out of clips.

    Args:
        clips: Clips of one or more splits.
        labels: Event labels; clips of other labels are passed over.
        store: Their waveforms.

    Returns:
        The bursts, and the clips that were left out because the gate found no clear onset.
    """
    label_of = {source: i for i, label in enumerate(labels) for source in label.sources}
    found: list[Burst[Recording]] = []
    without: list[Recording] = []
    for clip in clips:
        if clip.label not in label_of or clip not in store:
            continue
        isolated = clip.folder == "dcase2016_task2"
        spans = bursts(store.waveform(clip), store.sample_rate, isolated=isolated)
        found += [Burst(clip, start, stop, label_of[clip.label]) for start, stop in spans]
        if not spans:
            without.append(clip)
    return found, without


def splits(clips: Sequence[Recording]) -> dict[str, set[Split]]:
    """Map each source recording to the splits it is in: more than one would be a leak."""
    found: dict[str, set[Split]] = {}
    for clip in clips:
        found.setdefault(clip.source, set()).add(clip.split)
    return found
