"""Files that torch wrote: state dicts of any layout, and what is none."""

from __future__ import annotations

import collections
import os
import pickle

import pytest
import torch

from dcasenet.errors import WeightsError
from dcasenet.models.dcasenet import create
from dcasenet.weights.checkpoint import convert, read
from dcasenet.weights.key_map import rename


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("layout", ["ours", "authors"])
def test_state_dicts(tmp_path, released_state, legacy, layout):
    state = create("v3", width=0.125).state_dict()
    path = tmp_path / "state.pt"
    theirs = rename({name: name for name in released_state})  # held to the layout by test_dcasenet
    saved = {theirs[n]: t for n, t in state.items()} if layout == "authors" else state
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    spec = convert(path, tmp_path / "out.safetensors")
    assert (spec.name, spec.stage, spec.width) == ("v3", "custom", 0.125)
    assert (len(spec.scenes), len(spec.tags), len(spec.events)) == (10, 80, 14)
    assert spec.license == "unknown"
    loaded, own = read(tmp_path / "out.safetensors")
    assert own == spec
    assert all(torch.equal(loaded["network." + n], t) for n, t in state.items())


def test_the_stand_in_of_a_released_file(released_state, tmp_path):
    path = tmp_path / "best.pt"
    torch.save(released_state, path, _use_new_zipfile_serialization=False)
    spec = convert(path, tmp_path / "out.safetensors")
    assert spec.width == 1.0
    loaded = read(tmp_path / "out.safetensors").tensors
    assert torch.equal(loaded["network.scene_head.bias"], released_state["fc_ASC.bias"])


class Code:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["pickle", "torch", "torch legacy"])
def test_a_pickle_with_code_does_not_run_it(tmp_path, form):
    path, marker = tmp_path / "evil.pt", tmp_path / "it-ran"
    evil = {"conv_block4_2.conv1.weight": Code(marker)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(WeightsError, match=r"evil\.pt is neither .* without code") as told:
        read(path)
    assert "weights_only" not in str(told.value)
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch.load. received a zip file:UserWarning")
def test_why_a_file_is_refused(tmp_path):
    path = tmp_path / "network.pt"
    torch.save({"network": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(WeightsError, match=r"it refers to torch\.nn\.modules\.linear\.Linear"):
        read(path)
    path.write_bytes(b"OggS" + bytes(100))
    with pytest.raises(WeightsError, match=r"torch\.save did not write it"):
        read(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    with pytest.raises(WeightsError, match="TorchScript") as told:
        read(path)
    assert "weights_only" not in str(told.value)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {"a": torch.zeros(1)}},
        [torch.zeros(1)],
        torch.zeros(1),
        {1: torch.zeros(1)},
        collections.OrderedDict(epoch=3),
    ],
)
def test_other_torch_files_are_explained(tmp_path, content):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"not a flat mapping.*Save it as"):
        read(path)
