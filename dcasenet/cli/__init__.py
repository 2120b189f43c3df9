"""The ``dcasenet`` command."""

from dcasenet.cli.commands import app, main

__all__ = ["app", "main"]
