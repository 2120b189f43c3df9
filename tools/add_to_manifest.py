"""Put a safetensors file of this package into ``weights_manifest.json``, from its own metadata.

    python tools/add_to_manifest.py dcasenet/data/open/model.safetensors

The entry of the same name and stage is replaced; otherwise the new one comes first. Label sets that
no entry names any longer are left out. A file inside
the package is its own source; for another, give ``--github`` or ``--hub`` (see `WeightsFile`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcasenet.spec import ModelSpec
from dcasenet.weights.checksum import file_digest
from dcasenet.weights.manifest import LABEL_FIELDS, manifest_path, read_manifest
from dcasenet.weights.metadata import read_spec

PACKAGE = manifest_path().parent / "dcasenet"
# Long, and read from the file of weights itself.
MEASURED = ("curves", "familiarity")


def main() -> None:
    """Read the arguments and rewrite the manifest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--github", help="owner/repository/commit/path")
    parser.add_argument("--hub", help="org/name@commit/path")
    arguments = parser.parse_args()
    spec = read_spec(arguments.path)
    if spec is None:
        parser.error(f"{arguments.path} says nothing about itself")
    file: dict[str, Any] = {
        "digest": file_digest(arguments.path),
        "size": arguments.path.stat().st_size,
    }
    path = arguments.path.resolve()
    if path.is_relative_to(PACKAGE):
        file["package"] = path.relative_to(PACKAGE).as_posix()
    file |= {
        name: address
        for name in ("github", "hub")
        if (address := getattr(arguments, name)) is not None
    }
    if len(file) == 2:
        parser.error(f"{path} is not inside {PACKAGE}: give --github or --hub")
    manifest = read_manifest()
    models = manifest["models"]
    new = entry(spec, file, manifest["label_sets"])
    places = [i for i, m in enumerate(models) if (m["name"], m["stage"]) == (spec.name, spec.stage)]
    if places:
        models[places[0]] = new
    else:
        models.insert(0, new)
    named = {name for model in models for name in model["labels"].values()}
    manifest["label_sets"] = {n: s for n, s in manifest["label_sets"].items() if n in named}
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    manifest_path().write_text(text + "\n", encoding="utf-8")


def entry(
    spec: ModelSpec, file: Mapping[str, Any], label_sets: dict[str, list[str]]
) -> dict[str, Any]:
    """Make a manifest entry; labels that are no set yet become one."""
    values = {
        name: value
        for name, value in spec.to_dict().items()
        if value not in (None, {}) and name not in MEASURED
    }
    labels = {}
    for task, field in LABEL_FIELDS.items():
        wanted = list(values.pop(field))
        names = [name for name, known in label_sets.items() if known == wanted]
        name = names[0] if names else f"{spec.stage}-{field}"
        label_sets[name] = wanted
        labels[task] = name
    return {**values, "labels": labels, "metrics": dict(spec.metrics), "file": dict(file)}


if __name__ == "__main__":
    main()
