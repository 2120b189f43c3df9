"""Repositories, against a local server that speaks the Hub's own protocol."""

from __future__ import annotations

import hashlib
import json
import re

from huggingface_hub import ModelCard

from dcasenet.weights.hub import save_pretrained


def test_a_repository_loads_and_is_cached(hub_python, local_hub, small_model, tmp_path, published):
    save_pretrained(small_model, tmp_path / "model")
    oid = local_hub.add("org/name", tmp_path / "model")
    hub_python(f"""
    local = dcasenet.load({str(tmp_path / "model")!r})
    assert same(dcasenet.load("org/name"), local)
    assert same(dcasenet.load("org/name@main"), local)
    assert same(dcasenet.load("org/name@{oid}"), local)
    assert same(dcasenet.load("org/name", local_files_only=True), local)
    try:
        dcasenet.load("org/other", local_files_only=True)
    except dcasenet.OfflineError as error:
        assert "org/other: config.json is not on this machine" in str(error), error
        assert "/org/other/resolve/main/config.json" in str(error), error
    else:
        raise SystemExit("loaded")
    """)
    assert list((published.cache / "hub").glob("models--org--name"))
    downloads = [path for path in published.requested if path.startswith("/cdn/")]
    assert len(downloads) == 1
    before = len(published.requested)
    published.server.hub = lambda handler: handler.status(503)  # the Hub is down
    hub_python(
        f"""
    from dcasenet.weights.cache import hub_snapshots
    assert list(hub_snapshots()) == ["org/name@{oid}"]
    assert dcasenet.load("org/name@{oid}")
    assert dcasenet.load("org/name")
    os.environ["DCASENET_OFFLINE"] = "1"
    assert dcasenet.load("org/name")
    """,
        HF_HUB_VERBOSITY="error",
    )
    # A commit is never requested again, a branch may have moved.
    assert set(published.requested[before:]) == {"/org/name/resolve/main/config.json"}


def test_a_composed_repository_loads(hub_python, local_hub, published, tmp_path):
    published.server.hub = None
    hub_python(f"""
    model = dcasenet.load("v3", stage="finetuned")
    from dcasenet.weights.hub import save_pretrained
    save_pretrained(model, {str(tmp_path / "model")!r})
    """)
    published.server.hub = local_hub
    local_hub.add("org/composed", tmp_path / "model")
    hub_python(f"""
    local = dcasenet.load({str(tmp_path / "model")!r})
    assert same(dcasenet.load("org/composed"), local)
    assert same(dcasenet.load("org/composed", local_files_only=True), local)
    """)


def test_what_cannot_be_loaded_says_why(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    local_hub.add("org/name", tmp_path / "model")
    local_hub.commit("org/empty", {"notes.txt": b"nothing"})
    local_hub.commit("org/bert", {"config.json": b'{"model_type": "bert"}'})
    out = hub_python("""
    for name in ("org/missing", "org/name@v9", "org/empty", "org/bert", "org/na--me..x"):
        try:
            dcasenet.load(name)
        except dcasenet.WeightsError as error:
            print(" ".join(str(error).split()))
    """)
    missing, revision, empty, bert, invalid = out.splitlines()
    assert missing.startswith("org/missing: ")
    assert f"{local_hub.url}/org/missing/resolve/main/config.json cannot be downloaded" in missing
    assert "Nor is there a file or folder named 'org/missing'" in missing
    assert "org/name/resolve/v9/config.json" in revision
    assert "org/empty/resolve/main/config.json" in empty
    assert "is not the configuration of a dcasenet model" in bert
    assert "org/na--me..x" in invalid


def test_wrong_weights_are_fetched_again_then_refused(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    local_hub.add("org/name", tmp_path / "model")
    code = """
    try:
        print(dcasenet.load("org/name").spec.stage)
    except dcasenet.ChecksumError as error:
        print(error)
    """
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    sha = hashlib.sha256(weights).hexdigest()
    local_hub.large[sha] = weights[:-1] + b"x"
    assert "model.safetensors is not the published file" in hub_python(code)
    local_hub.large[sha] = weights  # what is in the cache is still the wrong file
    assert hub_python(code) == "mine\n"


def test_an_unreachable_hub(python, tmp_path):
    out = python.run(
        """
        import time
        time.sleep = lambda seconds: None  # huggingface_hub tries again for half a minute
        try:
            dcasenet.load("org/name")
        except dcasenet.WeightsError as error:
            print(type(error).__name__, error)
        """,
        HF_ENDPOINT="http://host.invalid",
        HF_HUB_VERBOSITY="error",
        HF_HOME=str(tmp_path / "hf"),
    )
    assert out.startswith("WeightsError org/name: http://host.invalid/org/name/resolve/main/config")


def test_push_and_load_back(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    out = hub_python(f"""
    local = dcasenet.load({str(tmp_path / "model")!r})
    address = local.push_to_hub("org/pushed", private=True)
    print(address)
    assert same(dcasenet.load(address), local)
    assert dcasenet.load("org/pushed").spec == local.spec
    """)
    address = out.strip()
    assert re.fullmatch(r"org/pushed@[0-9a-f]{40}", address)
    files = local_hub.commits["org/pushed", "main"]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    assert local_hub.private is True
    assert local_hub.message == "DcaseNet v2, mine"
    card = files["README.md"].decode()
    assert ModelCard(card).data.license == "cc-by-4.0"
    assert 'dcasenet.load("org/pushed")' in card
    config = json.loads(files["config.json"])
    assert config["digests"]["model.safetensors"] == (
        "sha256:" + hashlib.sha256(files["model.safetensors"]).hexdigest()
    )


def test_a_refused_push_says_why(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    local_hub.refused = (403, "Forbidden")
    out = hub_python(f"""
    try:
        dcasenet.load({str(tmp_path / "model")!r}).push_to_hub("org/pushed")
    except dcasenet.WeightsError as error:
        print(error)
    """)
    assert out.startswith(f"org/pushed cannot be uploaded to {local_hub.url}")
    assert "hf auth login" in out


def test_the_names_that_other_libraries_have(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    oid = local_hub.add("org/name", tmp_path / "model")
    hub_python(f"""
    from dcasenet import SoundModel
    folder = {str(tmp_path / "model")!r}
    local = SoundModel.from_pretrained(folder)
    assert same(local, dcasenet.load(folder))
    for address in (
        "org/name",
        "hf-hub:org/name",
        "hf://org/name",
        "https://huggingface.co/org/name",
        "https://hf.co/org/name/tree/main/",
        "org/name@{oid}",
    ):
        assert same(SoundModel.from_pretrained(address), local), address
        assert same(dcasenet.load(address), local), address
    assert same(SoundModel.from_pretrained("org/name", revision="{oid}"), local)
    try:
        SoundModel.from_pretrained("org/name", revision="v9")
    except dcasenet.WeightsError as error:
        assert "org/name/resolve/v9/config.json" in str(error), error
    else:
        raise SystemExit("loaded")
    """)
    before = len(local_hub.authorizations)
    hub_python("""
    from dcasenet import SoundModel
    SoundModel.from_pretrained("org/name", token="hf_mine", force_download=True)
    SoundModel.from_pretrained("org/name", local_files_only=True)
    """)
    requested = local_hub.authorizations[before:]
    assert "Bearer hf_mine" in requested
    assert "Bearer hf_token" not in requested


def test_a_push_to_a_branch_and_as_a_pull_request(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    hub_python(f"""
    local = dcasenet.load({str(tmp_path / "model")!r})
    address = local.push_to_hub("org/mine", revision="v2", commit_message="Better dogs")
    assert same(dcasenet.load("org/mine@v2"), local)
    local.push_to_hub("org/mine", create_pr=True)
    """)
    assert local_hub.branches == ["org/mine v2"]
    assert local_hub.committed == [
        ("v2", "Better dogs", False),
        ("main", "DcaseNet v2, mine", True),
    ]


def test_saving_can_push(hub_python, local_hub, small_model, tmp_path):
    save_pretrained(small_model, tmp_path / "model")
    hub_python(f"""
    local = dcasenet.load({str(tmp_path / "model")!r})
    local.save_pretrained({str(tmp_path / "again")!r}, push_to_hub=True, repo_id="org/again")
    assert same(dcasenet.load("org/again"), local)
    """)
    assert (tmp_path / "again" / "config.json").is_file()
