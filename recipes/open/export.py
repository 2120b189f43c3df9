"""The open checkpoint as files: weights with their description, credits, model card, log."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from recipes.open.module import JointTraining
from recipes.recordings import Recording

CREDIT_PREAMBLE = """# Recordings that the open checkpoint was trained on

{n_clips} clips of {n_sources} source recordings, each of them CC0, CC BY or in the public domain.
The weights carry no audio; the authors are credited here as CC BY requires. Every clip was
converted to mono at 24 kHz, cut, filtered, mixed with others and turned into a spectrogram.

- Clips of ESC-50 (K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM
  Multimedia 2015, doi:10.1145/2733373.2806390). The collection as a whole is CC BY-NC 3.0; only
  clips that are themselves CC0 or CC BY were used.
- Clips of DCASE 2016 task 2 (G. Lafay, E. Benetos, M. Lagrange, WASPAA 2017): CC BY 3.0.
- Files of Fris0uman/CDDA-Soundpacks are CC0 or CC BY one by one; the pack that they were taken
  from is published under CC BY-SA 4.0.
- Where no title is recorded, repository and path stand in its place.
- License texts: CC0 1.0 <https://creativecommons.org/publicdomain/zero/1.0/>, CC BY 3.0
  <https://creativecommons.org/licenses/by/3.0/>, CC BY 4.0
  <https://creativecommons.org/licenses/by/4.0/>. "CC BY" without a version stands where the
  source names none.

Licenses: {licenses}.
"""


def half(module: JointTraining) -> dict[str, Tensor]:
    """Return the tensors that are shipped.

    Returns:
        ``network.<name>`` for the network's state, floating point as float16, and
        ``frontend.<name>`` as float32.
    """
    tensors = {
        f"network.{name}": (value.half() if value.is_floating_point() else value)
        for name, value in module.network.state_dict().items()
    }
    tensors |= {f"frontend.{n}": v.float() for n, v in module.frontend.state_dict().items()}
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def load_tensors(module: JointTraining, tensors: Mapping[str, Tensor]) -> None:
    """Put shipped tensors back into a module, in its own precision."""
    for prefix, part in (("network.", module.network), ("frontend.", module.frontend)):
        named = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        part.load_state_dict(named)


def write_credits(path: Path, clips: Sequence[Recording]) -> None:
    """List every clip with its author, title, license and address."""
    licenses = Counter(clip.license for clip in clips)
    head = CREDIT_PREAMBLE.format(
        n_clips=len(clips),
        n_sources=len({clip.source for clip in clips}),
        licenses=", ".join(f"{license} {n}" for license, n in licenses.most_common()),
    )
    lines = [head]
    folder = ""
    for clip in sorted(clips, key=lambda clip: clip.key):
        if clip.folder != folder:
            folder = clip.folder
            lines.append(f"\n## {folder}\n")
        address = f", <{clip.url}>" if clip.url else ""
        title, author = " ".join(clip.title.split()), " ".join(clip.author.split())
        lines.append(f"- `{clip.filename}`: {title}, by {author}, {clip.license}{address}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def summarize_logs(runs: Sequence[Path], path: Path) -> None:
    """Write one row per epoch out of every CSV log of some runs, resumed ones in order.

    Args:
        runs: Folder of each cycle, that holds ``log/version_*/metrics.csv``.
        path: The summary.
    """
    epochs: dict[tuple[int, int], dict[str, str]] = {}
    columns: dict[str, None] = {"cycle": None, "epoch": None}
    for cycle, run in enumerate(runs, start=1):
        logs = run.glob("log/version_*/metrics.csv")
        for log in sorted(logs, key=lambda log: int(log.parent.name.removeprefix("version_"))):
            with log.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    values = {k: _short(v) for k, v in row.items() if v and not k.startswith("lr-")}
                    columns |= dict.fromkeys(values)
                    if "epoch" in values:
                        place = cycle, int(values["epoch"])
                        epochs.setdefault(place, {"cycle": str(cycle)}).update(values)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*columns], lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(epochs[place] for place in sorted(epochs))


def _short(value: str) -> str:
    return value if value.isdigit() else f"{float(value):.4f}"


def parameters(tensors: Mapping[str, Tensor]) -> int:
    """Count the learned numbers of a network's tensors."""
    state = ("running_mean", "running_var", "num_batches_tracked")
    learned = (t for n, t in tensors.items() if n.startswith("network.") and not n.endswith(state))
    return sum(torch.numel(tensor) for tensor in learned)
