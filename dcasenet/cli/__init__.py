"""The ``dcasenet`` command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dcasenet.cli.commands import app

__all__ = ["app", "main"]

INTERRUPTED = 130  # as the shell has it: 128 and the number of SIGINT


def main() -> NoReturn:
    """Run the command; see `dcasenet.cli.commands.main`."""
    try:
        # Here, so that Ctrl-C while it is imported ends the command as it does later.
        from dcasenet.cli.commands import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dcasenet.cli.commands import app

    return app
