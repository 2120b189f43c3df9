from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import dcasenet
from dcasenet.errors import UnknownModelError, WeightsError
from dcasenet.weights import manifest, metadata
from dcasenet.weights.checksum import file_digest
from dcasenet.weights.manifest import available_models, find, spec_of_entry
from dcasenet.weights.sources import packaged_path, urls

ROOT = Path(__file__).parents[2]
COMMIT = "8232e2403c6385436404fd91b10e51d9e722bea6"
# Path in the authors' repository and git blob id of each released file.
RELEASED = {
    "joint-asc": ("Joint/weights/best_ASC.pt", "ae2c814ce0148a033044bcb9793869fb42777427"),
    "joint-sed": ("Joint/weights/best_SED.pt", "1add3d1dbc9f2b75a1e96c71582b0e04ddd6a8d8"),
    "joint-tag": ("Joint/weights/best_lwlrap.pt", "64e1439bb3d1d3bc2ec291d2043c1461084ffc19"),
    "finetuned-asc": (
        "fine-tuneASC/weights/best_ASC.pt",
        "feb1acc3a476754490e2a047795e1d80c05421b0",
    ),
    "finetuned-sed": (
        "fine-tuneSED/weights/best_SED.pt",
        "ce83ddc400182abe7aba487360adda4f63e6caac",
    ),
    "finetuned-tag": (
        "fine-tuneTAG/weights/best_lwlrap.pt",
        "1c62055568e7b03c6c22bf688ec21c2deb90c604",
    ),
}
TASK = {"asc": "scene", "sed": "event", "tag": "tag"}


def test_the_manifest_follows_its_schema():
    schema = json.loads((ROOT / "tests" / "weights_manifest.schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    jsonschema.validate(manifest.read_manifest(), schema, validator)


@pytest.mark.parametrize("stage", RELEASED)
def test_the_released_files(stage, monkeypatch):
    monkeypatch.delenv("DCASENET_GITHUB_BASE", raising=False)
    spec = find("v3", stage)
    path, blob = RELEASED[stage]
    assert spec.file.digest == f"git_blob_sha1:{blob}"
    assert urls(spec.file) == [
        f"https://raw.githubusercontent.com/Jungjee/DcaseNet/{COMMIT}/weights/{path}"
    ]
    task = TASK[stage.rsplit("-", 1)[1]]
    joint = stage.startswith("joint")
    assert spec.tasks == (("scene", "tag", "event") if joint else (task,))
    assert spec.selected_for == (task if joint else None)
    assert [len(spec.labels(t)) for t in ("scene", "tag", "event")] == [10, 80, 14]
    assert spec.resampler == "sinc"
    assert spec.frontend == dcasenet.FrontEndSettings()
    assert spec.thresholds == dict.fromkeys(spec.events, 0.3)
    assert spec.license == "MIT"
    assert "non-commercial" in spec.training_data
    assert "best of 160 epochs" in spec.protocol
    assert list(spec.metrics) == [task]
    assert COMMIT[:7] in spec.source


def test_published_figures():
    figures = {
        "scene": {"accuracy_percent": 69.37},
        "tag": {"lwlrap_percent": 74.59},
        "event": {"segment_f1_percent": 78.80, "segment_error_rate": 0.3185},
    }
    composed = find("v3", "finetuned")
    assert composed.metrics == figures
    for task, stage in composed.members.items():
        assert find("v3", stage).metrics == {task: figures[task]}
        assert find("v3", stage).tasks == (task,)


def test_labels():
    labels = json.loads((ROOT / "tests" / "parity" / "labels.json").read_text("utf-8"))
    spec = find("v3", "joint")
    assert (list(spec.scenes), list(spec.tags), list(spec.events)) == (
        labels["scenes"],
        labels["tags"],
        labels["events"],
    )


def test_names_and_digests_are_unique():
    models = available_models()
    names = [(spec.name, spec.stage) for spec in models]
    digests = [spec.file.digest for spec in models if spec.file]
    assert len(set(names)) == len(names)
    assert len(set(digests)) == len(digests)
    assert ("v3", "joint") not in names  # an alias


def test_every_packaged_checkpoint_is_what_its_entry_says():
    packaged = [spec for spec in available_models() if spec.file and spec.file.package]
    if not packaged:
        pytest.skip("the manifest names no checkpoint inside the package yet")
    for spec in packaged:
        path = packaged_path(spec.file)
        assert path is not None
        assert file_digest(path) == spec.file.digest
        assert path.stat().st_size == spec.file.size
        own = metadata.read_spec(path)
        # What was measured is too long for the manifest.
        entry = find(spec.name, spec.stage)
        assert dataclasses.replace(own, curves={}, familiarity=None).to_dict() == entry.to_dict()
        assert own.to_dict() == spec.to_dict()


def test_the_tool_makes_an_entry_from_a_file(tmp_path, small_model):
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "add_to_manifest.py", tmp_path / "tools")
    shutil.copy(ROOT / "weights_manifest.json", tmp_path)
    weights = tmp_path / "dcasenet" / "data" / "mine" / "model.safetensors"
    small_model.save_pretrained(weights.parent)
    code = (
        "import runpy, sys; from pathlib import Path; from dcasenet.weights import manifest\n"
        f"manifest.manifest_path = lambda: Path({str(tmp_path / 'weights_manifest.json')!r})\n"
        f"sys.argv = ['add', {str(weights)!r}]\n"
        f"runpy.run_path({str(tmp_path / 'tools' / 'add_to_manifest.py')!r}, run_name='__main__')"
    )
    code += "\n" + code.splitlines()[-1]  # the second time it replaces its own entry
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    made = json.loads((tmp_path / "weights_manifest.json").read_text("utf-8"))
    schema = json.loads((ROOT / "tests" / "weights_manifest.schema.json").read_text("utf-8"))
    jsonschema.validate(made, schema, jsonschema.Draft202012Validator)
    assert len(made["models"]) == len(manifest.read_manifest()["models"]) + 1
    spec = spec_of_entry(made["models"][0], made["label_sets"])
    assert spec.to_dict() == small_model.spec.to_dict()
    assert spec.file.digest == file_digest(weights)
    assert spec.file.package == "data/mine/model.safetensors"


def test_joint_is_joint_tag():
    assert find("v3", "joint") == find("v3", "joint-tag")


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_what_was_never_released(name):
    with pytest.raises(UnknownModelError) as caught:
        dcasenet.load(name)
    message = str(caught.value)
    assert f"No released model is named '{name}'. Choose one of v3." in message
    assert "no published weights" in message
    assert f"dcasenet.create('{name}')" in message


@pytest.mark.parametrize(
    ("name", "stage", "message"),
    [
        ("V3", "joint", "No model is named 'V3'. Did you mean 'v3'?"),
        ("v3", "fine-tuned", "No stage of v3 is named 'fine-tuned'. Did you mean 'finetuned'?"),
        ("v3", "jiont", "Did you mean 'joint'?"),
        ("v3", "x", "Choose one of joint, "),
    ],
)
def test_misspelt_names(name, stage, message):
    with pytest.raises(UnknownModelError) as caught:
        find(name, stage)
    assert message in str(caught.value)


def test_a_damaged_manifest(tmp_path, monkeypatch):
    path = tmp_path / "weights_manifest.json"
    monkeypatch.setattr(manifest, "manifest_path", lambda: path)
    for text, message in (
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ('{"models": [{"name": "v3"}]}', "not the description of a checkpoint"),
        ('{"models": [{"name": "v3", "stage": "x", "labels": {"tag": "y"}}]}', "label set 'y'"),
    ):
        path.write_text(text)
        with pytest.raises(WeightsError, match=message):
            available_models()


def test_a_missing_manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(
        manifest, "__file__", str(tmp_path / "dcasenet" / "weights" / "manifest.py")
    )
    with pytest.raises(WeightsError, match="Install dcasenet again"):
        manifest.manifest_path()


def test_listing_models_needs_no_torch():
    code = (
        "import sys, dcasenet; dcasenet.available_models();"
        "from dcasenet.weights import cache, download, checksum, sources;"
        "cache.cached_files('nowhere');"
        "print([m for m in ('torch', 'httpx2', 'huggingface_hub', 'rich') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "[]\n", run.stderr


def test_an_installed_package_finds_its_own_copy(tmp_path):
    """The layout of a wheel: the manifest lies inside the package, with no checkout around it."""
    root = manifest.manifest_path().parent
    shutil.copytree(root / "dcasenet", tmp_path / "dcasenet", ignore=shutil.ignore_patterns("data"))
    shutil.copy(root / manifest.FILE_NAME, tmp_path / "dcasenet")
    code = (
        "import dcasenet.weights.manifest as m; print(m.manifest_path(), len(m.available_models()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    path, count = done.stdout.split()
    assert Path(path) == (tmp_path / "dcasenet" / manifest.FILE_NAME).resolve()
    assert int(count) == len(manifest.available_models())
    project = (root / "pyproject.toml").read_text("utf-8")
    assert '"weights_manifest.json" = "dcasenet/weights_manifest.json"' in project
