"""Every command means the checkpoint that `dcasenet.load()` gives."""

from __future__ import annotations

import json
from typing import Any

import typer
from typer.testing import CliRunner

from dcasenet.cli import app
from dcasenet.weights import manifest

# They build an architecture, or fetch what does not ship.
OTHERS = {"convert", "download", "reproduce", "train"}


def test_no_command_names_a_checkpoint_of_its_own() -> None:
    group: Any = typer.main.get_command(app)
    defaults = {
        (name, parameter.name): parameter.default
        for name, command in group.commands.items()
        for parameter in command.params
        if parameter.name in ("model", "stage") and name not in OTHERS
    }
    chosen = {name for name, _ in defaults}
    assert {"analyze", "scene", "tags", "events", "embed", "info", "export", "listen"} <= chosen
    assert set(defaults.values()) == {None}, defaults


def test_info_describes_the_default_checkpoint() -> None:
    done = CliRunner().invoke(app, ["info", "--format", "json"])
    values = json.loads(done.stdout)
    assert (values["name"], values["stage"]) == manifest.default_checkpoint()
