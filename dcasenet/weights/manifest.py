"""Look up the named checkpoints in ``weights_manifest.json``.

The manifest is a file at the top of the repository, and inside the package in a wheel. It has each
label set once, by name; here every entry becomes a complete `ModelSpec`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcasenet.errors import UnknownModelError, WeightsError
from dcasenet.spec import ModelSpec
from dcasenet.weights.metadata import measured

FILE_NAME = "weights_manifest.json"
# Architectures in `dcasenet.models.dcasenet`, listed here since that module imports torch.
ARCHITECTURES = ("v1", "v2", "v3")
# Stage of a name without a stage, and the packaged stages, the best first.
RELEASED_STAGE, DEFAULT_STAGES = "joint", ("distilled", "open")
LABEL_FIELDS = {"scene": "scenes", "tag": "tags", "event": "events"}


def manifest_path() -> Path:
    """Return the path of the manifest: inside an installed package, or at the top of a checkout.

    Raises:
        WeightsError: The manifest is in neither place.

    Example:
        >>> manifest_path().name
        'weights_manifest.json'
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parent):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise WeightsError(
        f"{FILE_NAME} is neither in {package} nor in {package.parent}: the installation is "
        f"incomplete. Install dcasenet again."
    )


def available_models() -> list[ModelSpec]:
    """List every checkpoint that `dcasenet.load` finds by name and stage.

    Returns:
        One spec per checkpoint, in the manifest's order. Those of packaged checkpoints are
        complete, as a loaded model's; nothing is downloaded for the others.

    Raises:
        WeightsError: The manifest, or a packaged checkpoint, is missing or damaged.

    Example:
        >>> "finetuned-asc" in [spec.stage for spec in available_models()]
        True
    """
    return [measured(spec) for spec in entries()]


def entries() -> list[ModelSpec]:
    """List the checkpoints from the manifest alone, without opening their files.

    Raises:
        WeightsError: The manifest is missing or damaged.
    """
    manifest = read_manifest()
    label_sets = manifest.get("label_sets", {})
    return [spec_of_entry(entry, label_sets) for entry in manifest.get("models", [])]


def default_checkpoint() -> tuple[str, str]:
    """Return name and stage of the default checkpoint: the best one in the package.

    Raises:
        WeightsError: The manifest is missing or damaged, or no checkpoint is in the package.

    Example:
        >>> default_checkpoint()[0]
        'v3'
    """
    shipped = {s.stage: s.name for s in entries() if s.file and s.file.package}
    for stage in DEFAULT_STAGES:
        if stage in shipped:
            return shipped[stage], stage
    raise WeightsError(f"{FILE_NAME} lists none of {', '.join(DEFAULT_STAGES)} as shipped.")


def resolve(name: str | None = None, stage: str | None = None) -> tuple[str, str]:
    """Return the full name and stage of a checkpoint, of which either may be omitted.

    Without both, it is the default checkpoint; with a name alone, its released joint network.

    Raises:
        WeightsError: The manifest is missing or damaged, or no checkpoint is in the package.

    Example:
        >>> resolve("v3"), resolve(stage="open")
        (('v3', 'joint'), ('v3', 'open'))
    """
    if name is not None:
        return name, stage or RELEASED_STAGE
    name, default_stage = default_checkpoint()
    return name, stage or default_stage


def find(name: str, stage: str) -> ModelSpec:
    """Look up a checkpoint.

    Args:
        name: Architecture, such as ``"v3"``.
        stage: Stage, such as ``"open"`` or ``"finetuned"``; ``"joint"`` is ``"joint-tag"``.

    Returns:
        Its spec, with the full name of the stage.

    Raises:
        UnknownModelError: The name is not known, has no published weights, or has no such stage.
        WeightsError: The manifest is missing or damaged.

    Example:
        >>> find("v3", "joint").stage
        'joint-tag'
    """
    models = entries()
    names = list(dict.fromkeys(spec.name for spec in models))
    if name not in names and name in ARCHITECTURES:
        raise UnknownModelError(
            "released model",
            name,
            names,
            f"{name} has no published weights: dcasenet.create({name!r}) builds it with random "
            f"ones, and dcasenet.load({name!r}, weights='my.safetensors') reads yours.",
        )
    if name not in names:
        raise unknown_model(name)
    stages = {spec.stage: spec for spec in models if spec.name == name}
    aliases: Mapping[str, str] = read_manifest().get("aliases", {})
    spec = stages.get(aliases.get(stage, stage))
    if spec is None:
        usable = [alias for alias, target in aliases.items() if target in stages]
        raise UnknownModelError(f"stage of {name}", stage, [*usable, *stages])
    return spec


def unknown_model(name: str, more: str = "") -> UnknownModelError:
    """Return the error for an unknown name; if it is a stage, the message shows how to use it.

    Args:
        name: The unknown name.
        more: A further sentence, for a name that is not a stage.

    Example:
        >>> print(unknown_model("open"))  # doctest: +ELLIPSIS
        No model is named 'open'. Choose one of v3. 'open' is a stage of v3: type ...
    """
    models = entries()
    stages = {spec.stage: spec.name for spec in models}
    aliases: Mapping[str, str] = read_manifest().get("aliases", {})
    owner = stages.get(aliases.get(name, name))
    if owner is not None:
        more = (
            f"{name!r} is a stage of {owner}: type dcasenet.load({owner!r}, stage={name!r}), "
            f"'dcasenet info {owner} --stage {name}', or '--model {owner} --stage {name}' for "
            f"commands that take recordings."
        )
    return UnknownModelError("model", name, dict.fromkeys(stages.values()), more)


def released_spec(name: str, width: float) -> ModelSpec:
    """Return the spec for a plain state dict: the released labels and front end.

    Args:
        name: Architecture of the state dict.
        width: Factor on its layer widths.

    Returns:
        A spec of all three tasks, without values for training, metrics or license.

    Raises:
        UnknownModelError: The manifest has no released checkpoint.
        WeightsError: The manifest is missing or damaged.

    Example:
        >>> released_spec("v1", width=0.5).scenes[0]
        'airport'
    """
    released = find("v3", "joint-tag")
    return ModelSpec(
        name=name,
        stage="custom",
        width=width,
        scenes=released.scenes,
        tags=released.tags,
        events=released.events,
        frontend=released.frontend,
        resampler=released.resampler,
        thresholds=released.thresholds,
    )


def with_digest(digest: str) -> ModelSpec | None:
    """Return the checkpoint whose published file has this digest, or None.

    Example:
        >>> with_digest("git_blob_sha1:64e1439bb3d1d3bc2ec291d2043c1461084ffc19").stage
        'joint-tag'
    """
    return next((m for m in entries() if m.file and m.file.digest == digest), None)


def read_manifest() -> dict[str, Any]:
    """Read the manifest as JSON values.

    Raises:
        WeightsError: The manifest is missing or not a JSON object.
    """
    path = manifest_path()
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path} is not valid JSON: {error}. Install dcasenet again.") from error
    if not isinstance(manifest, dict):
        raise WeightsError(f"{path} is not a JSON object. Install dcasenet again.")
    return manifest


def spec_of_entry(entry: Mapping[str, Any], label_sets: Mapping[str, list[str]]) -> ModelSpec:
    """Return the spec of an entry of the manifest.

    Args:
        entry: The fields of a `ModelSpec`, with two differences: ``labels`` (task → name of a label
            set, or the labels themselves) replaces the three label fields, and ``thresholds`` may
            be a single number.
        label_sets: Name → labels.

    Raises:
        WeightsError: A field is unknown or missing, or a label set does not exist.

    Example:
        >>> entry = {"name": "v3", "stage": "x", "labels": {"event": "pets"}, "thresholds": 0.5}
        >>> spec_of_entry(entry, {"pets": ["cat", "dog"]}).thresholds
        {'cat': 0.5, 'dog': 0.5}
    """
    values = dict(entry)
    for task, labels in values.pop("labels", {}).items():
        if isinstance(labels, str):
            if labels not in label_sets:
                raise WeightsError(
                    f"{FILE_NAME}: {entry.get('name')}, stage {entry.get('stage')} names the "
                    f"label set {labels!r}; there are {', '.join(label_sets)}."
                )
            labels = label_sets[labels]
        values[LABEL_FIELDS[task]] = labels
    threshold = values.get("thresholds")
    if isinstance(threshold, int | float):
        values["thresholds"] = dict.fromkeys(values.get("events", ()), float(threshold))
    return ModelSpec.from_dict(values)
