"""Train students from the recordings, for some minutes, on whatever device there is.

::

    python -m recipes.train DATA --teacher mn04_as.safetensors --minutes 600 --work runs/a
    python -m recipes.train DATA --students open:0.5 --minutes 600 --work runs/b
    python -m recipes.train DATA --students open:0.5 --smoke --work runs/c

What was interrupted goes on. `--from` begins with a checkpoint of the same width. If it reads the
same features, it was trained in larger batches: its first two blocks and the statistics of batch
norm, which small batches would spoil, stay as they are. If it reads others, or has other labels,
only what does not depend on them is taken. Each student ends as ``WORK/<name>.safetensors``.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from dcasenet.errors import DcasenetError
from dcasenet.models.base import LAST_LAYERS
from dcasenet.train.engine.precision import has_fast_bfloat16
from recipes.bank import decode_all, in_split, make_bank
from recipes.distilled.teacher import load_teacher
from recipes.labels import named_tags
from recipes.mixtures import MixtureSampler
from recipes.pack import label_sets
from recipes.package import read_description, save_student
from recipes.places import N_MIXTURES, N_SMOKE, fit_places
from recipes.recordings import FOLDERS, read_recordings
from recipes.students import Lecturer, Student, StudentSettings
from recipes.training import Schedule, StudentTrainer

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Decode, train, write."""
    parser = _parser()
    options = parser.parse_args(arguments)
    wanted = [settings(text) for text in options.students]
    taught = any(student.taught for student in wanted)
    if taught and options.teacher is None:
        parser.error("--teacher is needed by students whose name does not begin with open")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recordings = read_recordings(options.data)
    if options.smoke:
        recordings = recordings[::12]
    cache = options.cache or options.work / "decoded.npz"
    decoded = decode_all(recordings, options.data, cache)
    labels = label_sets(decoded)
    train = [c for c in in_split(decoded, "train") if c.recording.folder not in options.without]
    bank = make_bank(train, labels)
    n_labels = (len(labels.environments), len(labels.tags), len(labels.events))
    torch.manual_seed(options.seed)
    named = torch.tensor(named_tags(labels.tags))
    students = [Student(each, n_labels, named) for each in wanted]
    settled = [load_student(student, options.start) for student in students if options.start]
    bank = bank.to(device)
    lecturer = Lecturer(load_teacher(options.teacher)).to(device) if taught else None
    if lecturer is not None:
        lecturer.places = fit_places(
            lecturer, train, labels, bank, n_mixtures=N_SMOKE if options.smoke else N_MIXTURES
        )
    half = torch.bfloat16 if has_fast_bfloat16(device.type) else None
    log.info("trains in %s", half or torch.float32)
    training = StudentTrainer(
        students,
        lecturer,
        MixtureSampler(bank, seed=options.seed),
        Schedule(
            minutes=0.1 if options.smoke else options.minutes,
            batch=4 if options.smoke else options.batch,
            learning_rate=options.rate,
            averaging=options.averaging,
        ),
        half=half,
        settled=bool(settled) and all(settled),
    )
    training.run(options.work)
    for learner in training.learners:
        name = learner.student.settings.name
        save_student(learner.average, labels, options.work / f"{name}.safetensors")
    (options.work / "training.json").write_text(
        json.dumps({**training.summary(), "history": training.history}, indent=1)
    )
    log.info("%s", json.dumps(training.summary()))


def load_student(student: Student, path: Path) -> bool:
    """Put the tensors of a checkpoint into a student of the same width.

    Returns:
        Whether it reads the same features; if not, they are to be measured, and all of it trained.

    Raises:
        DcasenetError: They do not fit.
    """
    spec, tensors = read_description(path), load_file(path)
    own = student.network.state_dict()
    network = {n[8:]: value for n, value in tensors.items() if n.startswith("network.")}
    last = tuple(f"{name}." for name in LAST_LAYERS.values())
    for name in [n for n in network if n.startswith(last) and n in own]:
        if network[name].shape != own[name].shape:
            network[name] = own[name]
    try:
        student.network.load_state_dict(network)
    except RuntimeError as error:
        raise DcasenetError(f"{path} does not fit {student.settings}: {error}") from None
    same = spec.frontend == student.frontend.settings
    if same:
        student.frontend.mean.copy_(tensors["frontend.mean"])
        student.frontend.deviation.copy_(tensors["frontend.deviation"])
    return same


def settings(text: str) -> StudentSettings:
    """Read ``name:width``; names that begin with ``open`` are not taught.

    Example:
        >>> settings("open:0.5").taught
        False
    """
    name, width = text.split(":")
    return StudentSettings(name, float(width), taught=not name.startswith("open"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--students", nargs="+", default=["distilled:0.5"], metavar="NAME:WIDTH")
    parser.add_argument("--teacher", type=Path, help="mn04_as.safetensors")
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="decoded recordings, shared between runs")
    parser.add_argument("--from", dest="start", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--without", nargs="+", choices=FOLDERS, default=[], help="of the data")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--averaging", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="all of it, in under a minute")
    return parser


if __name__ == "__main__":
    main()
