"""``python -m dcasenet`` is the ``dcasenet`` command."""

from dcasenet.cli import main

main()
