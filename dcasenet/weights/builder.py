"""Build the front end and the network of a checkpoint, and check every tensor by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dcasenet.errors import WeightsError
from dcasenet.models.base import LAST_LAYERS
from dcasenet.models.dcasenet import NETWORKS
from dcasenet.models.frontend import LogMel
from dcasenet.spec import TASKS, ModelSpec, Task
from dcasenet.text import shorten_list

# Prefixes of a module's tensors in a weights file: "network.<name in its state dict>".
NETWORK, FRONTEND = "network.", "frontend."


def assemble(
    tensors: Mapping[str, Tensor], spec: ModelSpec, where: str
) -> tuple[LogMel, nn.Module]:
    """Build the front end and the network of a checkpoint from its tensors, without copying them.

    Args:
        tensors: Tensors of `read`; the network shares their memory.
        spec: Specification of the checkpoint.
        where: Name of the checkpoint and its file in messages.

    Returns:
        The front end and the network, in evaluation mode and without gradients.

    Raises:
        WeightsError: The architecture is unknown, or tensors are missing, extra or misshapen.
    """
    network = empty_network(spec, where, tensors)
    frontend = LogMel(spec.frontend)
    expected = {FRONTEND + name: tensor for name, tensor in frontend.state_dict().items()}
    expected |= {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    _check(tensors, expected, where)
    frontend.load_state_dict(_part(tensors, FRONTEND), assign=True)
    network.load_state_dict(_part(tensors, NETWORK), assign=True)
    return frontend.eval(), network.eval().requires_grad_(False)


def empty_network(
    spec: ModelSpec, where: str, tensors: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """Build a spec's network on the meta device, without memory or random numbers.

    Args:
        spec: Specification of the network.
        where: Name of the checkpoint and its file in messages.
        tensors: Its tensors, which determine the number of outputs of a head that the spec has no
            labels for; without them, a head has as many outputs as the spec has labels.

    Raises:
        WeightsError: The architecture is unknown.
    """
    if spec.name not in NETWORKS:
        raise WeightsError(
            f"{where}: the architecture is {spec.name!r}; this version of dcasenet supports "
            f"{', '.join(NETWORKS)}."
        )
    sizes = {task: _n_outputs(task, spec, tensors or {}) for task in TASKS}
    with torch.device("meta"):
        network = NETWORKS[spec.name](
            sizes["scene"],
            sizes["tag"],
            sizes["event"],
            width=spec.width,
            time_pooling=spec.time_pooling,
        )
        for task in spec.heads:
            network.give_linear_head(task, sizes[task], spec.embedding_size)
    return network


def _n_outputs(task: Task, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> int:
    layer = f"linear.{task}" if task in spec.heads else LAST_LAYERS[task]
    last = tensors.get(f"{NETWORK}{layer}.bias")
    if last is not None and last.dim() == 1 and task not in spec.tasks:
        return len(last)
    # A network always has three heads; one without labels is not used.
    return len(spec.labels(task)) or 1


def tensors_of(frontend: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """Return a model's tensors under their names in a weights file, on the CPU."""
    parts = ((FRONTEND, frontend), (NETWORK, network))
    return {
        prefix + name: tensor.detach().cpu().contiguous()
        for prefix, module in parts
        for name, tensor in module.state_dict().items()
    }


def weights_digest(spec: ModelSpec, frontend: nn.Module, network: nn.Module) -> str:
    """Hash all weights of a front end and a network, and the front end's settings.

    Returns:
        ``"sha256:<hexadecimal digest>"``, whatever file the weights were loaded from.
    """
    state = hashlib.sha256(json.dumps(spec.to_dict()["frontend"], sort_keys=True).encode())
    for name, tensor in sorted(tensors_of(frontend, network).items()):
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # NumPy has no bfloat16
    return f"sha256:{state.hexdigest()}"


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    missing = expected.keys() - tensors.keys()
    extra = tensors.keys() - expected.keys()
    misshapen = [
        f"{name} {_form(tensors[name])} instead of {_form(tensor)}"
        for name, tensor in expected.items()
        if name in tensors and _form(tensors[name]) != _form(tensor)
    ]
    faults = [
        f"{len(names)} {kind}: {shorten_list(sorted(names))}"
        for kind, names in (("missing", missing), ("extra", extra), ("misshapen", misshapen))
        if names
    ]
    if faults:
        raise WeightsError(
            f"{where} does not fit its network. Tensors {'; '.join(faults)}. "
            f"Was it trained with other labels, another width or another architecture?"
        )


def _form(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" of {tensor.dtype}"
    return f"{tuple(tensor.shape)}{kind}"
