from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from dcasenet import SoundModel, UnknownModelError

ROOT = Path(__file__).parents[1]


def hub(entry: str, **options: object) -> object:
    return torch.hub.load(str(ROOT), entry, source="local", **options)


def test_dependencies_are_import_names_of_core_dependencies() -> None:
    tree = ast.parse((ROOT / "hubconf.py").read_text("utf-8"))
    (names,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "dependencies"
    )
    assert all(find_spec(name) for name in names)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    core = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert core is not None
    declared = set(re.findall(r'"([a-z_]+)>=', core[1]))
    assert set(names) == declared - {"typer"}  # the command alone needs it


@pytest.mark.parametrize("entry", ["dcasenet_v1", "dcasenet_v2"])
def test_architectures_without_weights_are_untrained_networks(entry: str) -> None:
    network = hub(entry, n_scenes=3, width=0.125)
    assert isinstance(network, torch.nn.Module)
    assert network(torch.zeros(2, 128, 40)).scene.shape == (2, 3)
    with pytest.raises(UnknownModelError, match="no published weights"):
        hub(entry, stage="joint")


def test_weights_of_ones_own(tiny_model: SoundModel, tmp_path: Path) -> None:
    tiny_model.save_pretrained(tmp_path)
    model = hub("dcasenet_v3", weights=str(tmp_path / "model.safetensors"))
    assert isinstance(model, SoundModel)
    noise = np.random.default_rng(0).standard_normal(30_000)
    np.testing.assert_allclose(
        model.tag(noise, 24_000).values, tiny_model.tag(noise, 24_000).values, atol=1e-6
    )


def test_v3_defaults_to_joint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DCASENET_OFFLINE", "1")
    with pytest.raises(OSError, match="joint"):
        hub("dcasenet_v3", cache_dir=str(tmp_path))
