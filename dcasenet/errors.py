"""Every exception the package raises on purpose, and nothing else.

::

    DcasenetError
    ├── AudioError(ValueError)            the audio that was handed in
    ├── UnknownModelError(ValueError)     a name or stage that does not exist
    ├── UnknownLabelError(ValueError)     a label that no label set has
    ├── TaskNotAvailableError             a verb that this checkpoint cannot answer
    ├── JobError(OSError)                 a job on many files: its output cannot be made
    ├── BrokerError(OSError)              an MQTT broker: reaching it, delivering to it
    └── WeightsError(OSError)             a weights file: reading, writing, downloading
        ├── ChecksumError                 its content is not what the manifest promises
        └── OfflineError                  it would have to be downloaded, and may not be

A message says what is wrong (with the value), what is accepted, and what to type. It quotes names
from anywhere: read as text, it is one line without control characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from dcasenet.text import one_line


class DcasenetError(Exception):
    """Base class of every error of this package."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class AudioError(DcasenetError, ValueError):
    """The audio cannot be used: missing, unreadable, empty, not finite or misshapen."""


class UnknownModelError(DcasenetError, ValueError):
    """No model, or no stage of a model, has this name.

    Args:
        kind: What was looked for, such as ``"model"`` or ``"stage of v3"``.
        name: The name that does not exist.
        known: The names that do.
        more: A further sentence for the message.

    Example:
        >>> print(UnknownModelError("model", "V3", ["v1", "v2", "v3"]))
        No model is named 'V3'. Did you mean 'v3'? Choose one of v1, v2, v3.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], more: str = "") -> None:
        names = list(known)
        self._arguments = (kind, name, names, more)
        close = get_close_matches(str(name).lower(), names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        end = f" {more}" if more else ""
        super().__init__(
            f"No {kind} is named {name!r}.{hint} Choose one of {', '.join(names)}.{end}"
        )

    def __reduce__(self) -> tuple[type[UnknownModelError], tuple[str, str, list[str], str]]:
        return type(self), self._arguments


class UnknownLabelError(DcasenetError, ValueError):
    """No label set has this label.

    Args:
        label: The label that does not exist.
        known: The labels that do.
        kind: What was looked for.

    Example:
        >>> print(UnknownLabelError("Dogs", ["dog", "cat"]))
        There is no label 'Dogs'. Did you mean 'dog'?
    """

    def __init__(self, label: str, known: Iterable[str], kind: str = "label") -> None:
        names = list(known)
        self._arguments = (label, names, kind)
        folded = {name.casefold(): name for name in names}
        close = get_close_matches(str(label).casefold(), folded, n=3, cutoff=0.5)
        hint = " or ".join(repr(folded[name]) for name in close)
        end = f"Did you mean {hint}?" if hint else f"Accepted are {_shorten(names)}."
        super().__init__(f"There is no {kind} {str(label)[:80]!r}. {end}")

    def __reduce__(self) -> tuple[type[UnknownLabelError], tuple[str, list[str], str]]:
        return type(self), self._arguments


def _shorten(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")


class TaskNotAvailableError(DcasenetError):
    """The checkpoint has no head for the task that was requested."""


class JobError(DcasenetError, OSError):
    """The output of a job on many files is taken, of another job, or cannot be written."""


class BrokerError(DcasenetError, OSError):
    """An MQTT broker cannot be reached, refuses, or was not there to take everything."""


class WeightsError(DcasenetError, OSError):
    """A weights file cannot be found, read, written or downloaded."""


class ChecksumError(WeightsError):
    """A weights file is not the one the manifest names: size or digest differ."""


class OfflineError(WeightsError):
    """A weights file is not on this machine and downloading is switched off."""
