"""The options that commands of short trainings on the open data share."""

from __future__ import annotations

import argparse

from recipes.open.recipe import Recipe


def add_recipe_options(command: argparse.ArgumentParser, epochs: int, steps: int) -> None:
    """Add width, lengths and soundscapes to a command line.

    Args:
        command: The command line.
        epochs: How many by default.
        steps: How many in an epoch by default.
    """
    command.add_argument("--width", type=float, default=0.25)
    command.add_argument("--epochs", type=int, default=epochs)
    command.add_argument("--steps", type=int, default=steps, help="per epoch")
    defaults = Recipe()
    command.add_argument("--clip-seconds", type=float, default=defaults.clip_seconds)
    command.add_argument(
        "--soundscapes", type=int, default=defaults.n_soundscapes, help="in a step"
    )
    command.add_argument("--soundscape-seconds", type=float, default=defaults.soundscape_seconds)


def recipe_of(options: argparse.Namespace, seed: int) -> Recipe:
    """Return the recipe that the options name."""
    return Recipe(
        width=options.width,
        epochs=options.epochs,
        steps=options.steps,
        clip_seconds=options.clip_seconds,
        n_soundscapes=options.soundscapes,
        soundscape_seconds=options.soundscape_seconds,
        seed=seed,
    )
