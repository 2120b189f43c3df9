"""Select the format of a result's file by name or suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from dcasenet.results.values import Analysis, Events, Result

Export: TypeAlias = "Callable[[Result, Path | None], str]"


def _of_events(export: Callable[[Events, Path | None], str]) -> Export:
    def run(result: Result, path: Path | None) -> str:
        events = result.events if isinstance(result, Analysis) else result
        if not isinstance(events, Events):
            raise ValueError(
                f"{type(result).__name__} holds no events. Accepted for it are "
                f"{', '.join(ANY_RESULT)}."
            )
        return export(events, path)

    return run


# Name → suffix and method.
ANY_RESULT: dict[str, tuple[str, Export]] = {
    "json": (".json", lambda result, path: result.to_json(path=path)),
    "csv": (".csv", lambda result, path: result.to_csv(path)),
}
OF_EVENTS: dict[str, tuple[str, Export]] = {
    "audacity": (".txt", _of_events(Events.to_audacity)),
    "raven": (".selections.txt", _of_events(Events.to_raven)),
    "textgrid": (".TextGrid", _of_events(Events.to_textgrid)),
    "webvtt": (".vtt", _of_events(Events.to_webvtt)),
    "jams": (".jams", _of_events(Events.to_jams)),
    "labelstudio": (".json", _of_events(Events.to_label_studio)),
    "scores": (".tsv", _of_events(Events.to_sed_scores)),
}
FORMATS = {**ANY_RESULT, **OF_EVENTS}


def suffix_of(form: str) -> str:
    """Return the suffix of a format's files.

    Example:
        >>> suffix_of("textgrid")
        '.TextGrid'
    """
    return FORMATS[form][0]


def format_of(path: Path) -> str | None:
    """Return the format of a file by its suffix; None if the suffix is unknown.

    Example:
        >>> format_of(Path("a.selections.txt")), format_of(Path("a.txt")), format_of(Path("a.png"))
        ('raven', 'audacity', None)
    """
    name = path.name.lower()
    found = [form for form in FORMATS if name.endswith(suffix_of(form).lower())]
    # The longest suffix; among equal ones the first, so that .json is a result's own format.
    return max(found, key=lambda form: len(suffix_of(form)), default=None)


def export(result: Result, form: str, path: Path | None = None) -> str:
    """Return a result in a format, and write it to `path` if given.

    Args:
        result: The result of a method of the model.
        form: A key of `FORMATS`; all except json and csv are for events.
        path: The file to create or replace, with its provenance.

    Raises:
        ValueError: The format is for events, and the result has none.
        OSError: The file cannot be written.
    """
    return FORMATS[form][1](result, path)
