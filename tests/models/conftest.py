"""What the tests of the fused network share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """The functions of networks.py, which pytest's way of importing tests cannot import."""
    path = Path(__file__).with_name("networks.py")
    spec = importlib.util.spec_from_file_location("networks", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
