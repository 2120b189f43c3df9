"""One command for a machine with a GPU: train every student, run ESC-50's folds, write results.

::

    python -m recipes.device --pack .pack --output $OUT --minutes 8 --compile
    python -m recipes.device --pack .pack --output out --smoke        # under a minute on a CPU

The students of a phase read the same mixtures; one alone gets the most steps. The second phase
leaves out every clip of ESC-50, so that its students can be evaluated on the five folds. Results
are written as files of at most 16 MiB; larger checkpoints are cut into parts that `cat` joins.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dcasenet.train.engine.precision import has_fast_bfloat16
from recipes.bank import Decoded, in_split, make_bank, pcm_of
from recipes.distilled.teacher import load_teacher
from recipes.esc.folds import N_FOLDS, FineTuning, clips_of, evaluate
from recipes.labels import LabelSets, named_tags
from recipes.mixtures import MixtureSampler
from recipes.pack import describe_all, read_pack
from recipes.package import save_student
from recipes.places import N_MIXTURES, N_SMOKE, fit_places
from recipes.recordings import LabeledClip
from recipes.students import Lecturer, Student, StudentSettings
from recipes.train import settings
from recipes.training import Schedule, StudentTrainer
from recipes.watch import watch

log = logging.getLogger(__name__)

LARGEST_FILE = 15 * 2**20


@dataclass(frozen=True)
class Phase:
    """Students that read the same mixtures.

    Attributes:
        name: Of its folder.
        students: Who learns.
        share: Share of the minutes.
        with_esc50: Whether clips of ESC-50 are among the recordings.
    """

    name: str
    students: tuple[StudentSettings, ...]
    share: float
    with_esc50: bool = True


def phases(options: argparse.Namespace) -> tuple[Phase, ...]:
    """Return the phases that have students, as `students` and `esc_students` name them."""
    students = [settings(text) for text in options.students]
    evaluated = [settings(f"{text.replace(':', '-esc50:')}") for text in options.esc_students]
    if options.smoke:
        students, evaluated = (
            [replace(s, width=1 / 16) for s in of] for of in (students, evaluated)
        )
    share = options.esc_share if evaluated else 0.0
    found = (
        Phase("main", tuple(students), 1.0 - share if students else 0.0),
        Phase("esc50", tuple(evaluated), share if students else 1.0, with_esc50=False),
    )
    return tuple(phase for phase in found if phase.students)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every phase, then the folds."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    began = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = torch.bfloat16 if has_fast_bfloat16(device.type) else None
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    clips, labels = read_pack(options.pack, streams=6 if options.smoke else None)
    described = describe_all(clips)
    log.info("%d recordings after %.1f s", len(described), time.monotonic() - began)
    lecturer = Lecturer(load_teacher(options.pack / "mn04_as.safetensors")).to(device)
    results: dict[str, object] = {"device": _name(device), "torch": torch.__version__}
    watched = make_bank([c for c in described if c.recording.split == "validation"], labels)
    students: dict[str, Student] = {}  # of the folds
    for phase in phases(options):
        training = _training(phase, described, lecturer, labels, options, half)
        training.run(options.output / phase.name)
        (options.output / phase.name / "state.pt").unlink()
        results[phase.name] = {"history": training.history, **training.summary()}
        log.info("%s: %s", phase.name, json.dumps(training.summary()))
        for learner in training.learners:
            name = learner.student.settings.name
            if phase.with_esc50:
                save_student(learner.average, labels, options.output / f"{name}.safetensors")
                log.info("%s is written", name)
            else:  # it is evaluated at once, and of no use afterwards
                students[name] = learner.average
        results[f"{phase.name}_watched"] = watch(
            [learner.average for learner in training.learners],
            lecturer,
            watched.to(device),
            n=8 if options.smoke else 256,
        )
        log.info("%s", json.dumps(results[f"{phase.name}_watched"]))
    if students:
        results["esc50"] = _folds(students, clips, device, half, options)
    results["seconds"] = round(time.monotonic() - began, 1)
    if device.type == "cuda":
        results["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    (options.output / "results.json").write_text(json.dumps(results, indent=1))
    _cut(options.output)
    log.info("done in %.1f s", results["seconds"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--students", nargs="*", default=["distilled:1"], metavar="NAME:WIDTH")
    parser.add_argument(
        "--esc-students",
        nargs="*",
        default=["distilled:0.5", "open:0.5"],
        metavar="NAME:WIDTH",
        help="what is evaluated on the folds of ESC-50",
    )
    parser.add_argument("--esc-share", type=float, default=0.3, help="of the minutes, for these")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="all of it, in under a minute")
    parser.add_argument("--fold-epochs", type=int, default=20)
    return parser


def _training(
    phase: Phase,
    clips: Sequence[Decoded],
    lecturer: Lecturer,
    labels: LabelSets,
    options: argparse.Namespace,
    half: torch.dtype | None,
) -> StudentTrainer:
    train = [
        clip
        for clip in in_split(clips, "train")
        if phase.with_esc50 or clip.recording.folder != "esc50"
    ]
    bank = make_bank(train, labels).to(next(lecturer.parameters()).device)
    lecturer.places = fit_places(
        lecturer, train, labels, bank, n_mixtures=N_SMOKE if options.smoke else N_MIXTURES
    )
    n_labels = (len(labels.environments), len(labels.tags), len(labels.events))
    named = torch.tensor(named_tags(labels.tags))
    torch.manual_seed(0)
    minutes = 0.05 if options.smoke else options.minutes * phase.share
    batch = 8 if options.smoke else options.batch
    return StudentTrainer(
        [Student(settings, n_labels, named) for settings in phase.students],
        lecturer,
        MixtureSampler(bank),
        Schedule(minutes=minutes, batch=batch, learning_rate=options.rate),
        half=half,
        compiled=options.compile,
    )


def _folds(
    students: dict[str, Student],
    clips: Sequence[tuple[LabeledClip, NDArray[np.float32]]],
    device: torch.device,
    half: torch.dtype | None,
    options: argparse.Namespace,
) -> dict[str, object]:
    """Probe and fine-tune the students that never read ESC-50."""
    esc = [
        (recording, pcm_of(waveform))
        for recording, waveform in clips
        if recording.folder == "esc50"
    ]
    if options.smoke:
        esc = esc[:: max(1, len(esc) // 50)]
    data = clips_of(esc, device)
    tuned = (1,) if options.smoke else range(1, N_FOLDS + 1)
    settings = FineTuning(epochs=1 if options.smoke else options.fold_epochs)
    found: dict[str, object] = {}
    for name, student in students.items():
        result = evaluate(student.frontend, student.network, data, tuned, settings, half)
        found[name] = {
            "probe": result.probe,
            "fine_tuned": [fold.accuracy for fold in result.fine_tuned],
            "losses": [fold.losses for fold in result.fine_tuned],
        }
        log.info("%s: %s", name, result)
    return found


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _cut(folder: Path) -> None:
    """Cut files that are too large to come back into parts."""
    for file in sorted(folder.glob("*.safetensors")):
        content = file.read_bytes()
        if len(content) > LARGEST_FILE:
            for index in range(0, len(content), LARGEST_FILE):
                part = folder / f"{file.name}.part{index // LARGEST_FILE}"
                part.write_bytes(content[index : index + LARGEST_FILE])
            file.unlink()


if __name__ == "__main__":
    main()
