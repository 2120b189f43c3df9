"""Every command means the checkpoint that `dcasenet.load()` gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dcasenet.weights import manifest

# Imports the command line with another manifest, and prints each command's defaults.
PROGRAM = """
import json, sys
from pathlib import Path
from dcasenet.weights import manifest
manifest.manifest_path = lambda: Path(sys.argv[1])
import typer
from dcasenet.cli import app
group = typer.main.get_command(app)
found = {}
for name, command in group.commands.items():
    parameters = getattr(command, "params", ())
    own = {p.name: p.default for p in parameters if p.name in ("model", "stage")}
    if own:
        found[name] = own
print(json.dumps(found))
"""
# What names an architecture instead of a checkpoint, or takes the model from a file.
OTHERS = {"convert", "download", "reproduce", "train", "verify"}


def test_another_default_in_the_manifest_is_every_commands(tmp_path: Path) -> None:
    content = json.loads(manifest.manifest_path().read_text("utf-8"))
    shipped = [e for e in content["models"] if e["stage"] in manifest.DEFAULT_STAGES]
    for entry in shipped:
        entry["name"] = "v2"
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content), "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    stage = manifest.default_checkpoint()[1]
    chosen = {name: own for name, own in found.items() if name not in OTHERS}
    assert {"analyze", "scene", "tags", "events", "embed", "info", "export", "listen"} <= {*chosen}
    assert list(chosen.values()) == [{"model": "v2", "stage": stage}] * len(chosen), chosen
