"""Map the names in the authors' released state dicts to those of `DcaseNetV3`.

Source: Jungjee/DcaseNet at 8232e24, ``models/DcaseNet.py``. The tensors are the same, unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# (pattern in the authors' names, replacement), applied in order.
NAMES: tuple[tuple[str, str], ...] = (
    (r"^conv_block1\.", "trunk.0."),
    (r"^conv_block2\.", "trunk.1."),
    (r"^conv_block3\.", "trunk.2."),
    (r"^conv_block4_1\.", "common."),
    (r"^conv_block4_2\.", "scene_block."),
    (r"^layer_ASC\.", "scene_branch."),
    (r"^code_ASC\.", "scene_code."),
    (r"^fc_ASC\.", "scene_head."),
    (r"^gru_1\.", "tag_gru."),
    (r"^gru_2\.", "event_gru."),
    (r"^event_fc\.", "event_head."),
    (r"^layer_TAG\.", "tag_head."),
    (r"\.bn([12])\.", r".norm\1."),
    (r"\.se\.fc\.0\.", ".attention.squeeze."),
    (r"\.se\.fc\.2\.", ".attention.excite."),
    (r"\.downsample\.", ".shortcut."),
)
# These two are in every release and hardly in any other network.
FINGERPRINT = frozenset({"conv_block4_2.conv1.weight", "fc_ASC.weight"})


def is_released_layout(state: Mapping[str, object]) -> bool:
    """Return whether a state dict has the authors' names.

    Example:
        >>> is_released_layout({"trunk.0.conv1.weight": 0})
        False
    """
    return state.keys() >= FINGERPRINT


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a released state dict under the names of `DcaseNetV3`, with the same tensors.

    Args:
        state: The authors' state dict; names that are not in the table are kept.

    Example:
        >>> list(rename({"layer_ASC.0.se.fc.2.weight": None}))
        ['scene_branch.0.attention.excite.weight']
    """
    return {_ours(name): tensor for name, tensor in state.items()}


def _ours(name: str) -> str:
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name
