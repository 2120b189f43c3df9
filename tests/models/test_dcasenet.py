from __future__ import annotations

import numpy as np
import pytest
import torch

from dcasenet import ModelSpec
from dcasenet.errors import UnknownModelError
from dcasenet.models.dcasenet import create
from dcasenet.weights.key_map import is_released_layout, rename
from tests.parity.golden import clips

# The paper prints millions of 2**20: v1 8.7, v2 8.9, v3 13.2 (Table 3).
PARAMETERS = {"v1": 9_145_768, "v2": 9_346_344, "v3": 13_882_920}
PRINTED = {"v1": 8.7, "v2": 8.9, "v3": 13.2}


@pytest.fixture(scope="module")
def released(released_state: dict[str, torch.Tensor]) -> torch.nn.Module:
    network = create("v3").eval()
    network.load_state_dict(rename(released_state), strict=True)
    return network


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name: str) -> None:
    count = sum(p.numel() for p in create(name).parameters())
    assert count == PARAMETERS[name]
    assert round(count / 2**20, 1) == PRINTED[name]


def test_common_part_of_v1_and_v2() -> None:
    for name in ("v1", "v2"):
        common = {
            parameter: tensor.numel()
            for parameter, tensor in create(name).named_parameters()
            if not parameter.startswith("scene")
        }
        assert sum(common.values()) == 7_532_958


@pytest.mark.parametrize("clip", clips("logmel"))
def test_outputs_equal_the_authors(
    released: torch.nn.Module, golden: dict[str, np.ndarray], clip: str
) -> None:
    with torch.inference_mode():
        out = released(torch.from_numpy(golden[f"{clip}/logmel"])[None])
    event = out.event.sigmoid().repeat_interleave(8, dim=1)
    for ours, theirs in (
        (out.scene, "asc_logits"),
        (out.tag, "tag_logits"),
        (event, "sed_probs"),
        (out.embedding, "gru_features"),
    ):
        np.testing.assert_allclose(ours[0].numpy(), golden[f"{clip}/{theirs}"], atol=1e-4)


def test_released_layout_is_covered_name_for_name(
    released_state: dict[str, torch.Tensor],
) -> None:
    ours = {name: list(tensor.shape) for name, tensor in create("v3").state_dict().items()}
    renamed = rename(released_state)
    assert {name: list(tensor.shape) for name, tensor in renamed.items()} == ours
    assert len(renamed) == len(released_state)
    assert is_released_layout(released_state)
    assert not is_released_layout(renamed)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("width", [1.0, 0.5, 0.25])
def test_width_and_label_counts(name: str, width: float) -> None:
    network = create(name, n_scenes=3, n_tags=7, n_events=2, width=width).eval()
    with torch.inference_mode():
        out = network(torch.zeros(2, 128, 90))
    assert out.scene.shape == (2, 3)
    assert out.tag.shape == (2, 7)
    assert out.event.shape == (2, 2, 2)
    assert out.embedding.shape == (2, 2, int(512 * width))


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_is_not_requested_is_not_computed(name: str) -> None:
    network = create(name, width=0.125).eval()
    called: list[str] = []
    for part, module in network.named_children():
        module.register_forward_hook(lambda *_, part=part: called.append(part))
    with torch.inference_mode():
        everything = network(torch.zeros(1, 128, 80))
        called.clear()
        events = network(torch.zeros(1, 128, 80), tasks=("event",))
    assert not {"tag_head", "scene_head", "scene_branch"} & set(called)
    assert events.scene is None
    assert events.tag is None
    torch.testing.assert_close(events.event, everything.event)
    called.clear()
    with torch.inference_mode():
        scene = network(torch.zeros(1, 128, 80), tasks=("scene",))
        embedding = network(torch.zeros(1, 128, 80), tasks=())
    assert scene.tag is None
    assert scene.event is None
    assert not {"tag_head", "event_head"} & set(called)
    torch.testing.assert_close(scene.scene, everything.scene)
    torch.testing.assert_close(embedding.embedding, everything.embedding)


def test_scene_of_v2_and_v3_comes_without_the_gru() -> None:
    for name in ("v2", "v3"):
        assert create(name, width=0.125)(torch.zeros(2, 128, 40), tasks=["scene"]).embedding is None


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_learns(name: str) -> None:
    network = create(name, width=0.125)
    out = network(torch.randn(2, 128, 120))
    (out.scene.sum() + out.tag.sum() + out.event.sum() + out.embedding.sum()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_initialization_is_the_authors() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create("v3", width=0.5)
    network.requires_grad_(False)
    gru = network.tag_gru
    hidden = gru.hidden_size
    new = gru.weight_hh_l0[2 * hidden :]
    torch.testing.assert_close(new @ new.T, torch.eye(hidden), atol=1e-5, rtol=0)
    assert gru.weight_ih_l0.abs().max() <= (3 / gru.input_size) ** 0.5
    assert gru.bias_ih_l0.abs().max() == 0
    assert gru.bias_ih_l0_reverse.abs().max() > 0
    gains = network.trunk[2].norm1.weight
    assert gains.std() == pytest.approx(0.02, rel=0.3)
    assert network.event_head.bias.abs().max() == 0


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("width", [1 / 16, 0.1, 0.27, 0.3, 0.333])
def test_any_width_works_and_the_spec_knows_its_embedding(name: str, width: float) -> None:
    network = create(name, n_scenes=2, n_tags=2, n_events=2, width=width).eval()
    with torch.inference_mode():
        out = network(torch.zeros(1, 128, 40))
    assert out.embedding.shape[2] == ModelSpec(name, "any", width=width).embedding_size


def test_unknown_tasks_are_refused() -> None:
    for name in PARAMETERS:
        with pytest.raises(ValueError, match="no task 'sed'; give any of scene, tag, event"):
            create(name, width=0.125)(torch.zeros(1, 128, 40), tasks=("sed",))


def test_scene_of_v1_is_inferred_over_all_of_the_clip() -> None:
    network = create("v1", width=0.125).eval()
    log_mel = torch.randn(1, 128, 400, generator=torch.Generator().manual_seed(0))
    changed = log_mel.clone()
    changed[:, :, :40] = 0
    with torch.inference_mode():
        early = network.scene_block(network(log_mel).embedding.transpose(1, 2)).mean(dim=2)
        scene = network.scene_head(early)
        assert not torch.allclose(network(changed).scene, network(log_mel).scene)
    torch.testing.assert_close(scene, network(log_mel).scene)


def test_unknown_architecture_and_bad_numbers() -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'v3'"):
        create("V3")
    with pytest.raises(ValueError, match="n_tags=0"):
        create("v3", n_tags=0)
    with pytest.raises(ValueError, match=r"width=0\.01"):
        create("v3", width=0.01)
