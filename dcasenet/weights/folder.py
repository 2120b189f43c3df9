"""A model as a folder: ``config.json``, its weights, and a card for people.

A model of one network is ``model.safetensors``; one that is composed of several has a file per
task, ``scene.safetensors`` and so on. The configuration holds the spec, which is the one that
counts, and the digest of every weights file, so that a folder that was half copied or half
written over is refused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dcasenet.errors import WeightsError
from dcasenet.models.per_task import ComposedNetwork
from dcasenet.spec import TASKS, ModelSpec, Task, WeightsFile
from dcasenet.weights import checkpoint
from dcasenet.weights.builder import tensors_of
from dcasenet.weights.checksum import file_digest, verify
from dcasenet.weights.model_card import model_card

if TYPE_CHECKING:
    from dcasenet.inference.model import SoundModel

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class Config:
    """What ``config.json`` says.

    Attributes:
        spec: What the model is.
        digests: Name of a weights file → its digest, ``"sha256:…"``.
    """

    spec: ModelSpec
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def weights(self) -> dict[Task | None, str]:
        """Task → name of its weights file; None → that of a model of one network."""
        if not self.spec.members:
            return {None: WEIGHTS}
        # Nothing else that the file says is taken for a path.
        return {task: f"{task}.safetensors" for task in TASKS if task in self.spec.members}


def save_folder(model: SoundModel, folder: Path, address: str | None = None) -> None:
    """Write a model into a folder that `dcasenet.load` reads.

    Args:
        model: The model.
        folder: Made if it does not exist; files of the same names are replaced.
        address: What `dcasenet.load` will find it by, for the card; by default the folder's name.

    Raises:
        WeightsError: The folder cannot be written, or a member cannot be loaded.
    """
    names = [*Config(model.spec).weights.values(), CARD, CONFIG]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # All of it beside the model that may be there, which stays whole if the disk is full.
        with TemporaryDirectory(dir=folder, prefix=".saving-") as draft:
            _write(model, Path(draft), address or f"{folder.name}/")
            # The configuration last, since it vouches for the weights.
            for name in names:
                Path(draft, name).replace(folder / name)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(
            f"The model cannot be written to {folder}: {error.strerror or error}. What was there "
            f"before is as it was."
        ) from error


def _write(model: SoundModel, folder: Path, address: str) -> None:
    spec, network = model.spec, model.network
    if isinstance(network, ComposedNetwork):
        for task in network.tasks:
            tensors = tensors_of(model.frontend, network.member(task))
            checkpoint.write(folder / f"{task}.safetensors", tensors, member_spec(spec, task))
    else:
        checkpoint.write(folder / WEIGHTS, tensors_of(model.frontend, network), spec)
    config = {
        "library_name": "dcasenet",
        "spec": spec.to_dict(),
        "digests": {name: file_digest(folder / name) for name in Config(spec).weights.values()},
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    checkpoint.write_bytes(folder / CONFIG, text.encode())
    checkpoint.write_bytes(folder / CARD, model_card(spec, address).encode())


def member_spec(spec: ModelSpec, task: Task) -> ModelSpec:
    """Give the spec of one member of a composed model, which its own file carries."""
    metrics: dict[str, Mapping[str, float]] = {}
    if task in spec.metrics:
        metrics[task] = spec.metrics[task]
    return dataclasses.replace(
        spec,
        stage=spec.members[task],
        tasks=(task,),
        heads={name: kind for name, kind in spec.heads.items() if name == task},
        members={},
        metrics=metrics,
    )


def read_config(folder: Path) -> Config | None:
    """Read a folder's configuration; None if it has none but does have a weights file.

    Raises:
        WeightsError: It has neither, or the configuration is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        if (folder / WEIGHTS).is_file():
            return None
        raise WeightsError(
            f"{folder} holds no model: it has neither {CONFIG} nor {WEIGHTS}. Give a folder "
            f"written by save_pretrained."
        )
    try:
        values = json.loads(path.read_text("utf-8"))
        digests = dict(values["digests"])
        if not all(str(digest).startswith("sha256:") for digest in digests.values()):
            raise ValueError("a digest does not begin with 'sha256:'")
        return Config(ModelSpec.from_dict(values["spec"]), digests)
    except (ValueError, TypeError, KeyError, WeightsError) as error:
        raise WeightsError(
            f"{path} is not the configuration of a dcasenet model ({type(error).__name__}: "
            f"{error}). Give a folder or repository written by save_pretrained or push_to_hub."
        ) from error


def verified(folder: Path, config: Config, name: str) -> Path:
    """Give the path of a weights file whose content the configuration vouches for.

    Raises:
        ChecksumError: Its content is another.
        WeightsError: It is missing.
    """
    path = folder / name
    if not path.is_file():
        raise WeightsError(f"{path} is missing; {folder / CONFIG} says that it is there.")
    if name not in config.digests:
        raise WeightsError(f"{folder / CONFIG} has no digest of {name} under 'digests'.")
    verify(path, WeightsFile(digest=config.digests[name]), f"{folder / CONFIG}")
    return path
