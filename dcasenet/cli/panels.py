"""The commands as ``dcasenet --help`` groups them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

PANELS: Mapping[str, tuple[str, ...]] = {
    "Recordings": ("analyze", "scene", "tags", "events", "embed", "check", "listen"),
    "Results": ("report", "verify", "calibrate"),
    "Archives and copies": ("search", "redact", "web"),
    "Checkpoints": ("models", "info", "download", "convert", "export", "cache"),
    "Training": ("finetune", "train", "reproduce"),
}


class PanelGroup(TyperGroup):
    """Commands in panels of plain text, which copies and wraps well; the rest under "Other"."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Read the command line, which no empty word makes sense in.

        Raises:
            typer.BadParameter: There is one. As a path it would be the current folder.
        """
        if any(not word or (word.startswith("--") and word.endswith("=")) for word in args):
            raise typer.BadParameter(
                "An empty name or value was given, as by a variable of the shell that is not set. "
                "Give . for the current folder."
            )
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of the commands, panel by panel."""
        names = super().list_commands(ctx)
        known = [name for panel in PANELS.values() for name in panel if name in names]
        return known + [name for name in names if name not in known]

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write a section for each panel."""
        names = self.list_commands(ctx)
        width = max(len(name) for name in names)
        named = {name for panel in PANELS.values() for name in panel}
        other = tuple(name for name in names if name not in named)
        for title, panel in {**PANELS, "Other": other}.items():
            commands = [(n, self.get_command(ctx, n)) for n in panel if n in names]
            rows = [
                (name.ljust(width), command.get_short_help_str(formatter.width - width - 6))
                for name, command in commands
                if command is not None
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
