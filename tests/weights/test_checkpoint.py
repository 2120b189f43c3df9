from __future__ import annotations

import contextlib
import json
import os
import struct
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcasenet.errors import WeightsError
from dcasenet.weights import checkpoint
from dcasenet.weights.builder import assemble, tensors_of
from dcasenet.weights.checkpoint import convert, read, write
from dcasenet.weights.checksum import file_digest
from dcasenet.weights.metadata import read_spec


@pytest.fixture
def tensors(small_model):
    return tensors_of(small_model.frontend, small_model.network)


@pytest.fixture
def file(small_model, tensors, tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, tensors, small_model.spec)
    return path


def test_what_is_written_is_read(file, tensors, small_model):
    read_tensors, spec = read(file)
    assert spec == small_model.spec
    assert read_spec(file) == spec
    assert read_tensors.keys() == tensors.keys()
    assert all(torch.equal(read_tensors[name], tensor) for name, tensor in tensors.items())
    assert "frontend.mean" in tensors
    assert "network.trunk.0.conv1.weight" in tensors


def test_equal_models_make_equal_files(file, tensors, small_model, tmp_path):
    write(tmp_path / "again.safetensors", tensors, small_model.spec)
    assert file_digest(file) == file_digest(tmp_path / "again.safetensors")


def test_reading_maps_the_file_and_training_does_not_change_it(file, small_model):
    before = file_digest(file)
    read_tensors, spec = read(file)
    frontend, network = assemble(read_tensors, spec, "x")
    weight = network.get_parameter("trunk.0.conv1.weight")
    assert weight.data_ptr() == read_tensors["network.trunk.0.conv1.weight"].data_ptr()
    assert not weight.requires_grad  # until somebody requests it
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert file_digest(file) == before
    assert not any(module.training for module in network.modules())
    assert torch.equal(frontend.mean, small_model.frontend.mean)
    assert not [name for name, tensor in network.state_dict().items() if tensor.is_meta]


def test_no_weights_are_drawn_in_vain(file):
    state = torch.random.get_rng_state()
    assemble(*read(file), "x")
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tensors, small_model, tmp_path, dtype):
    path = tmp_path / "half.safetensors"
    cast = {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}
    write(path, cast, small_model.spec)
    loaded = read(path).tensors
    assert {t.dtype for t in loaded.values()} == {torch.float32, torch.int64}
    name = "network.scene_head.weight"
    assert torch.equal(loaded[name], tensors[name].to(dtype).float())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pt", b""),
        ("page.pt", b"<!DOCTYPE html><html>Not found</html>"),
        ("empty.safetensors", b""),
        ("page.safetensors", b"<!DOCTYPE html><html>Not found</html>"),
        ("cut.safetensors", struct.pack("<Q", 100) + b'{"a":'),
        ("json.safetensors", struct.pack("<Q", 4) + b"{no}"),
        ("list.safetensors", struct.pack("<Q", 2) + b"[]"),
        ("text.safetensors", struct.pack("<Q", 18) + b'{"__metadata__":1}'),
    ],
)
def test_files_that_are_something_else(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read(tmp_path / name)
    with pytest.raises(WeightsError, match=name):
        read_spec(tmp_path / name)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pt cannot be read: No such file"):
        read(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        read(tmp_path)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    state = {"a": torch.zeros(3), "b": torch.ones(2, 2)}
    torch.save(state, folder / "zip.pt")
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    write(folder / "own", state, checkpoint.ModelSpec("v3", "x"))
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about odd pickles
@given(data=st.data())
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_files_are_weights_errors(data, whole_files, tmp_path):
    """Cut anywhere or with any bytes changed: tensors, or a `WeightsError`, and nothing else."""
    whole = data.draw(st.sampled_from(whole_files))
    content = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(content)
    with contextlib.suppress(WeightsError):
        assert isinstance(read(tmp_path / "damaged").tensors, dict)


def test_missing_extra_and_misshapen_tensors_are_named(tensors, small_model, tmp_path):
    del tensors["network.scene_head.bias"]
    tensors["network.surprise"] = torch.zeros(1)
    tensors["network.event_head.bias"] = torch.zeros(7)
    path = tmp_path / "odd.safetensors"
    write(path, tensors, small_model.spec)
    with pytest.raises(WeightsError) as caught:
        assemble(*read(path), f"v2, stage mine: {path}")
    message = str(caught.value)
    assert message.startswith(f"v2, stage mine: {path} does not fit its network.")
    assert "1 missing: network.scene_head.bias" in message
    assert "1 extra: network.surprise" in message
    assert "1 misshapen: network.event_head.bias (7,) instead of (4,)" in message


def test_many_missing_tensors_are_counted(tensors, small_model):
    few = dict(list(tensors.items())[:3])
    with pytest.raises(WeightsError, match=r"\d\d missing: .* and \d\d more"):
        assemble(few, small_model.spec, "x")


def test_integers_are_not_weights(tensors, small_model):
    tensors["network.event_head.bias"] = torch.zeros(4, dtype=torch.int32)
    with pytest.raises(WeightsError, match=r"\(4,\) of torch.int32 instead of \(4,\)"):
        assemble(tensors, small_model.spec, "x")


def test_a_state_dict_of_something_else(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(WeightsError, match=r"linear\.pt is not a DcaseNet: it has no 'trunk"):
        convert(tmp_path / "linear.pt", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"spec": "{"}, "damaged spec"),
        ({"spec": "[]"}, "damaged spec"),
        ({"spec": '{"name": "v3"}'}, "damaged spec"),
        ({"spec": "5"}, "damaged spec"),
        ({"spec": json.dumps({"name": "v9", "stage": "x"})}, "architecture is 'v9'"),
        ({"spec": json.dumps({"name": [], "stage": "x"})}, "unusable name"),
        ({"spec": json.dumps({"name": "v3", "stage": "x", "width": 1e9})}, "unusable width"),
        ({"spec": json.dumps({"name": "v3", "stage": "x", "tasks": ["smell"]})}, "unusable tasks"),
        ({"spec": json.dumps({"name": "v3", "stage": "x", "events": [1]})}, "unusable events"),
        (
            {"spec": json.dumps({"name": "v3", "stage": "x", "frontend": {"n_fft": 10**12}})},
            "unusable n_fft: 1000000000000",
        ),
        (
            {"spec": json.dumps({"name": "v3", "stage": "x", "thresholds": {"dog": 3}})},
            "unusable thresholds",
        ),
    ],
)
def test_damaged_descriptions(tensors, tmp_path, metadata, message):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    with pytest.raises(WeightsError, match=message):
        assemble(*read(path), str(path))


def test_a_newer_specs_unknown_field_is_named(tensors, small_model, tmp_path):
    path = tmp_path / "newer.safetensors"
    values = {**small_model.spec.to_dict(), "flavour": "mint"}
    path.write_bytes(safetensors.torch.save(tensors, {"spec": json.dumps(values)}))
    with pytest.raises(WeightsError, match="flavour"):
        read(path)


def test_an_empty_head_keeps_its_one_output(small_model, tensors):
    spec = replace(small_model.spec, tasks=("tag", "event"), scenes=())
    tensors["network.scene_head.weight"] = tensors["network.scene_head.weight"][:1]
    tensors["network.scene_head.bias"] = tensors["network.scene_head.bias"][:1]
    assert assemble(tensors, spec, "x")[1].scene_head.out_features == 1


def test_a_failed_write_leaves_what_was_there(file, tensors, small_model, monkeypatch):
    before = file.read_bytes()

    def fail(self, target):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(checkpoint.Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write(file, tensors, small_model.spec)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("kind", ["md5", ""])
def test_unknown_digests(file, kind):
    with pytest.raises(ValueError, match="Use 'sha256' or 'git_blob_sha1'"):
        file_digest(file, kind)
