from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

import dcasenet
from dcasenet.errors import (
    ChecksumError,
    TaskNotAvailableError,
    UnknownModelError,
    WeightsError,
)
from dcasenet.spec import ModelSpec
from dcasenet.weights import manifest
from dcasenet.weights.checksum import file_digest
from dcasenet.weights.hub import save_pretrained
from dcasenet.weights.model_card import model_card


@pytest.fixture
def saved(small_model, tmp_path):
    return save_pretrained(small_model, tmp_path / "model")


def test_a_folder(saved, small_model, same):
    for name in (saved, str(saved), f"{saved}/"):
        model = dcasenet.load(name)
        assert model.spec == small_model.spec
        assert same(model, small_model)
        assert torch.equal(model.frontend.mean, small_model.frontend.mean)
    assert same(dcasenet.load("v2", weights=saved), small_model)


def test_a_file_that_says_what_it_is(saved, small_model, same):
    path = saved / "model.safetensors"
    assert dcasenet.load(path).spec == small_model.spec
    assert same(dcasenet.load(str(path)), small_model)
    assert same(dcasenet.load("v2", weights=path), small_model)
    with pytest.raises(WeightsError, match=r"contains a v2, not a v3. Load it as .*\.load\('v2'"):
        dcasenet.load("v3", weights=path)


def test_a_file_by_its_name_alone(saved, small_model, monkeypatch, same):
    monkeypatch.chdir(saved)
    assert same(dcasenet.load("model.safetensors"), small_model)
    monkeypatch.chdir(saved.parent)
    assert same(dcasenet.load("model"), small_model)


def test_a_folder_without_configuration(saved, small_model, same):
    (saved / "config.json").unlink()
    assert same(dcasenet.load(saved), small_model)
    (saved / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"neither config.json nor model.safetensors"):
        dcasenet.load(saved)


def test_the_configuration_counts(saved):
    path = saved / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["spec"]["thresholds"]["dog"] = 0.9
    path.write_text(json.dumps(config))
    assert dcasenet.load(saved).spec.thresholds["dog"] == 0.9


def test_a_folder_that_is_not_whole(saved):
    weights = saved / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"x")
    with pytest.raises(
        ChecksumError, match=r"config.json: .*model.safetensors is not the published"
    ):
        dcasenet.load(saved)
    weights.unlink()
    with pytest.raises(WeightsError, match="is missing"):
        dcasenet.load(saved)
    weights.write_bytes(content)
    config = saved / "config.json"
    for text in (
        "{",
        "[]",
        "{}",
        '{"spec": {}, "digests": {}}',
        '{"spec": 5, "digests": {}}',
        '{"spec": {"name": "v3", "stage": "x"}, "digests": {"model.safetensors": "md5:0"}}',
        '{"spec": {"name": "v3", "stage": "x"}, "digests": {"model.safetensors": 5}}',
    ):
        config.write_text(text)
        with pytest.raises(WeightsError, match="not the configuration of a dcasenet model"):
            dcasenet.load(saved)
    spec = {"name": "v2", "stage": "x"}
    config.write_text(json.dumps({"spec": spec, "digests": {}}))
    with pytest.raises(WeightsError, match=r"no digest of model.safetensors"):
        dcasenet.load(saved)


def test_saving_over_a_folder(saved, small_model, same):
    spec = small_model.spec
    with torch.no_grad():
        small_model.network.scene_head.bias += 1
    save_pretrained(small_model, saved)
    assert same(dcasenet.load(saved), small_model)
    assert sorted(p.name for p in saved.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert dcasenet.load(saved).spec == spec


def test_saving_over_the_folder_that_is_mapped(saved, small_model, same):
    model = dcasenet.load(saved)
    with torch.no_grad():
        model.network.scene_head.bias += 1
    save_pretrained(model, saved)
    assert same(dcasenet.load(saved), model)
    assert not same(dcasenet.load(saved), small_model)


def test_a_folder_that_cannot_be_written(small_model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="cannot be written to"):
        save_pretrained(small_model, tmp_path / "file" / "model")


def test_the_card(saved):
    card = (saved / "README.md").read_text("utf-8")
    for text in (
        "license: cc-by-4.0",
        "dcasenet.load",
        "`park`, `tram`",
        "| scene | accuracy_percent | 61.5 |",
        "Four recordings.",
        "Recordings of a park (CC0)",
        "up to 8000 Hz",
        "- sound-event-detection",
    ):
        assert text in card
    assert str(saved.parent) not in card  # nobody's folders


def test_the_cards_metadata_is_the_hubs(saved):
    data = ModelCard((saved / "README.md").read_text("utf-8")).data
    assert data.library_name == "dcasenet"
    assert data.license == "cc-by-4.0"
    assert data.datasets == ["A-walk-in-the-park"]
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy_percent", 61.5)
    assert result.task_name == "Acoustic scene classification"
    assert result.dataset_name == "A walk in the park"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("CC BY 4.0", "cc-by-4.0"),
        ("CC-BY-NC-SA-4.0", "cc-by-nc-sa-4.0"),
        ("MIT license", "mit"),
        ("Apache 2.0", "apache-2.0"),
        ("CC0", "cc0-1.0"),
        ("Ours: no\nsharing", None),
    ],
)
def test_licenses_by_the_hubs_names(name, known):
    spec = ModelSpec(
        "v3",
        "mine",
        scenes=("park",),
        tasks=("scene",),
        license=name,
        metrics={"scene": {"validation_accuracy": 0.5, "5_fold_accuracy": 0.25}},
    )
    data = ModelCard(model_card(spec, "me/mine")).data
    assert data.license == (known or "other")
    assert data.license_name == (None if known else "Ours-no-sharing")
    splits = {result.metric_type: result.dataset_split for result in data.eval_results}
    assert splits == {"accuracy": "validation", "5_fold_accuracy": None}
    plain = ModelCard(model_card(ModelSpec("v3", "mine"), "me/mine")).data
    assert plain.eval_results is None
    assert plain.datasets is None


def test_a_bare_state_dict(tmp_path):
    network = dcasenet.create("v1", width=0.125).eval()
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    model = dcasenet.load("v1", weights=tmp_path / "mine.pt")
    assert model.spec.stage == "custom"
    assert len(model.spec.tags) == 80
    log_mel = torch.randn(1, 128, 40)
    assert torch.equal(model.network(log_mel).tag, network(log_mel).tag)
    with pytest.raises(WeightsError, match="does not fit its network"):
        dcasenet.load("v2", weights=tmp_path / "mine.pt")


@pytest.mark.parametrize("name", ["missing.safetensors", "sounds/best.pt", "my_model/", "./a/b/"])
def test_paths_that_are_not_there(name):
    with pytest.raises(WeightsError, match="There is no file or folder"):
        dcasenet.load(name)
    with pytest.raises(WeightsError, match="There is no file or folder"):
        dcasenet.load(Path("org/name"))
    with pytest.raises(WeightsError, match="cannot be read"):
        dcasenet.load("v3", weights="no/such/file.pt")


@pytest.mark.parametrize("name", ["v4", "V3", "dcasenet v3", ""])
def test_names_that_are_none(name):
    with pytest.raises(UnknownModelError, match="Choose one of v3"):
        dcasenet.load(name)


def test_weights_need_an_architecture(saved):
    with pytest.raises(UnknownModelError, match="No architecture is named 'v4'"):
        dcasenet.load("v4", weights=saved)


@pytest.mark.parametrize(
    "options",
    [{"runtime": "jax"}, {"precision": "int3"}, {"device": "abacus"}],
)
def test_options_that_are_none(saved, options):
    with pytest.raises(ValueError, match=r"Unsupported combination|cannot be used"):
        dcasenet.load(saved, **options)


def test_the_shipped_manifest_refuses_a_stand_in(server, tmp_path, monkeypatch, released_state):
    monkeypatch.setenv("DCASENET_GITHUB_BASE", server.url)
    path = tmp_path / "standin.pt"
    torch.save(released_state, path, _use_new_zipfile_serialization=False)
    commit = "8232e2403c6385436404fd91b10e51d9e722bea6"
    address = f"/Jungjee/DcaseNet/{commit}/weights/Joint/weights/best_lwlrap.pt"
    server.files[address] = path.read_bytes()
    with pytest.raises(ChecksumError) as caught:
        dcasenet.load("v3", cache_dir=tmp_path / "cache")
    assert "v3, stage joint-tag" in str(caught.value)
    assert server.url + address in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.pt"))
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_verbs_work_on_what_was_loaded(published):
    audio = torch.randn(48_000) * 0.1
    joint = dcasenet.load("v3")
    assert joint.classify_scene(audio, 24_000).label in joint.spec.scenes
    finetuned = dcasenet.load("v3", stage="finetuned-asc")
    with pytest.raises(TaskNotAvailableError):
        finetuned.tag(audio, 24_000)


def test_a_stand_in_end_to_end(server, tmp_path, monkeypatch, released_state, golden):
    """The shipped manifest but for its digest, a file as the authors' are, the authors' outputs."""
    path = tmp_path / "standin.pt"
    torch.save(released_state, path, _use_new_zipfile_serialization=False)
    shipped = manifest.read_manifest()
    entry = next(model for model in shipped["models"] if model["stage"] == "joint-tag")
    entry["file"]["digest"] = file_digest(path, "git_blob_sha1")
    (tmp_path / "manifest.json").write_text(json.dumps(shipped))
    monkeypatch.setattr(manifest, "manifest_path", lambda: tmp_path / "manifest.json")
    monkeypatch.setenv("DCASENET_GITHUB_BASE", server.url)
    monkeypatch.setenv("DCASENET_HOME", str(tmp_path / "cache"))
    server.files[f"/{entry['file']['github']}"] = path.read_bytes()
    log_mel = torch.from_numpy(golden["bursts/logmel"])[None]
    for offline in (False, True):
        model = dcasenet.load("v3", local_files_only=offline)
        with torch.inference_mode():
            outputs = model.network(log_mel)
        expected = torch.from_numpy(golden["bursts/tag_logits"])
        torch.testing.assert_close(outputs.tag[0], expected, atol=1e-4, rtol=0)
        expected = torch.from_numpy(golden["bursts/asc_logits"])
        torch.testing.assert_close(outputs.scene[0], expected, atol=1e-4, rtol=0)
    assert len(server.requests) == 1
    assert model.spec.license == "MIT"
    assert model.spec.selected_for == "tag"
