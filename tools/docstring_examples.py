"""A Griffe extension: a docstring's section "Example:" is shown as code, as "Examples:" is."""

from __future__ import annotations

import re
from typing import Any

import griffe

TITLE = re.compile(r"^Example:$", re.MULTILINE)


class ExampleSections(griffe.Extension):
    """Rename the section before the docstring is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section of one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = TITLE.sub("Examples:", obj.docstring.value)
