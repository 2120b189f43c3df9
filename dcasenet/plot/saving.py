"""Pictures as files that say what drew them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcasenet import __version__
from dcasenet.atomic import replacing
from dcasenet.results import Provenance
from dcasenet.results.writing import input_stamped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")


def new_figure(**options: Any) -> Figure:
    """Return an empty figure.

    Args:
        **options: Of matplotlib's ``Figure``.

    Raises:
        ImportError: matplotlib is not installed (extra ``plot``).
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib. Type: pip install 'dcasenet[plot]'") from error
    return Figure(**options)


def save_figure(figure: Figure, path: Path, provenance: Provenance | None = None) -> None:
    """Write a picture, of the kind that its suffix names.

    Args:
        figure: What is drawn.
        path: The file to make or replace.
        provenance: What it shows was made with, for the picture's metadata.

    Raises:
        OSError: It cannot be written.
    """
    made_by = "Software" if path.suffix == ".png" else "Creator"
    metadata = {made_by: f"dcasenet {__version__}"}
    if provenance is not None:
        key = "Keywords" if path.suffix == ".pdf" else "Description"
        metadata[key] = json.dumps(input_stamped(provenance).to_dict())
    with replacing(path) as draft:
        figure.savefig(draft, dpi=120, metadata=metadata, format=path.suffix[1:])


def is_plot(path: Path) -> bool:
    """Return whether a picture was written by `save_figure`: its metadata say so."""
    return path.is_file() and re.search(rb"dcasenet \d+\.\d+", path.read_bytes()) is not None
