"""What the tests of the fused network share."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.fixtures.modules import load_module


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """The functions of networks.py, which pytest's way of importing tests cannot import."""
    return load_module(Path(__file__).with_name("networks.py"))
