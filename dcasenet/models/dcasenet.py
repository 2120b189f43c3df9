"""The three architectures of the paper: log-mel in, logits of three tasks and embeddings out.

All three share the backbone, the GRU and the heads; they differ in where each task leaves the path
(paper, Figure 1):

- `DcaseNetV1` detects events first and classifies the scene from them (human perception);
- `DcaseNetV2` classifies the scene first, after a few convolutions (task complexity);
- `DcaseNetV3` extends v2 by layers that serve one task alone, beside the common path.

v3 is the authors' released network, layer for layer. v1 and v2 were never released: they follow
the paper's text, and what the text leaves open is chosen, and said, in each docstring. The paper's
parameter counts are in units of 2**20.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dcasenet.errors import UnknownModelError
from dcasenet.models.base import Outputs, ThreeTasks, mean_over_mel
from dcasenet.models.blocks import (
    BACKBONE_CHANNELS,
    DENSE,
    SCENE_CHANNELS,
    SCENE_CODE,
    BiGru,
    ConvBlock,
    ResidualBlock,
    backbone,
    initialize_all,
    tag_head,
)
from dcasenet.spec import Task, scaled


class _OneGru(ThreeTasks):
    """What v1 and v2 share: tags and events read the output of one GRU."""

    trunk: nn.Sequential
    top: ConvBlock
    gru: BiGru

    def unpooled(self, log_mel: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the GRU's map before the last pooling; see `ThreeTasks`."""
        return self.top.convolve(self.trunk(log_mel[:, None])), self.top.pool

    def embed(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Run the GRU; see `ThreeTasks`."""
        embedding = self.gru(sequence)[0]
        return embedding, embedding


class DcaseNetV1(_OneGru):
    """Events first, then tags and scene in parallel on the GRU's output (Figure 1-(a)).

    9,145,768 parameters, the paper's 8.7 × 2**20. Choices that the paper leaves open:

    - Pooling is v3's (2×2, 2×2, 2×2, 2×5), so that a step is 0.8 s in every architecture.
    - The mean over mel bins joins the last convolution to the GRU, as in v3.
    - The scene's "CNN" is "a residual block" of [12]: one squeeze-and-excitation block as in v3's
      scene branch, here 3 wide over the GRU's 512 channels in time, the only axis left.
    - The block is averaged over time and read by one linear layer. v3's further code of 128 would
      make 8.8 × 2**20.
    - Tags read the mean over steps, as in v3.

    Args:
        n_scenes: Number of scene labels.
        n_tags: Number of tag labels.
        n_events: Number of event labels.
        width: Factor on every channel, GRU and dense width.
        time_pooling: Steps of the last pooling in time: 5 is the paper's (a step of 0.8 s), 1
            leaves time alone (0.16 s).

    Shape:
        - Input: (batch, 128, frames) normalized log-mel, at least 40 frames.
        - Output: see `Outputs`; steps = frames // (8 × time_pooling).

    Example:
        >>> network = DcaseNetV1(n_scenes=10, n_tags=80, n_events=14, width=0.25)
        >>> network(torch.randn(2, 128, 251), tasks=["event"]).event.shape
        torch.Size([2, 6, 14])
    """

    name: ClassVar[str] = "v1"
    own: ClassVar[Mapping[Task, tuple[str, ...]]] = {
        **ThreeTasks.own,
        "scene": ("scene_block", "scene_head"),
    }

    def __init__(
        self,
        n_scenes: int,
        n_tags: int,
        n_events: int,
        width: float = 1.0,
        time_pooling: int = 5,
    ) -> None:
        super().__init__()
        base = scaled(BACKBONE_CHANNELS[-1], width)
        top = 2 * base
        self.trunk = backbone(width)
        self.top = ConvBlock(base, top, pool=(2, time_pooling))
        self.gru = BiGru(top, top // 2)
        self.event_head = nn.Linear(top, n_events)
        self.tag_head = tag_head(top, scaled(DENSE, width), n_tags)
        self.scene_block = ResidualBlock(top, top, axes=1)
        self.scene_head = nn.Linear(top, n_scenes)
        initialize_all(self, self.event_head)

    def answer(self, log_mel: Tensor, tasks: Sequence[Task], *, embed: bool) -> Outputs:
        """Answer tasks by the paper's heads; see `ThreeTasks`."""
        embedding, _ = self.embed(mean_over_mel(self.top(self.trunk(log_mel[:, None]))))
        scene = None
        if "scene" in tasks:
            hidden = self.scene_block(embedding.transpose(1, 2))
            scene = self.scene_head(hidden.mean(dim=2))
        return Outputs(
            embedding=embedding,
            scene=scene,
            tag=self.tag_head(embedding.mean(dim=1)) if "tag" in tasks else None,
            event=self.event_head(embedding) if "event" in tasks else None,
        )


class DcaseNetV2(_OneGru):
    """The scene first, after a few convolutions; tags and events after the GRU (Figure 1-(b)).

    9,346,344 parameters, the paper's 8.9 × 2**20. Choices that the paper leaves open:

    - Pooling, the way into the GRU and the tags' mean over steps are v1's.
    - "After a few CNN blocks" is after the third of four, where v3 leaves the common path too.
    - The scene branch keeps the 256 channels that it starts from: a 3×3 convolution of stride 2
      (with batch norm and ReLU) makes the map smaller, one squeeze-and-excitation residual block
      [12] reads it, and a global average, a code of 128 and a linear layer follow, as in v3.
      Three convolutions of 256 channels are what the printed count has room for.

    Args:
        n_scenes: Number of scene labels.
        n_tags: Number of tag labels.
        n_events: Number of event labels.
        width: Factor on every channel, GRU and dense width.
        time_pooling: Steps of the last pooling in time: 5 is the paper's (a step of 0.8 s), 1
            leaves time alone (0.16 s).

    Shape:
        - Input: (batch, 128, frames) normalized log-mel, at least 40 frames.
        - Output: see `Outputs`; steps = frames // (8 × time_pooling).

    Example:
        >>> network = DcaseNetV2(n_scenes=10, n_tags=80, n_events=14, width=0.25)
        >>> network(torch.randn(2, 128, 251), tasks=["scene"]).scene.shape
        torch.Size([2, 10])
    """

    name: ClassVar[str] = "v2"

    def __init__(
        self,
        n_scenes: int,
        n_tags: int,
        n_events: int,
        width: float = 1.0,
        time_pooling: int = 5,
    ) -> None:
        super().__init__()
        base = scaled(BACKBONE_CHANNELS[-1], width)
        top = 2 * base
        self.trunk = backbone(width)
        self.scene_branch = nn.Sequential(
            nn.Conv2d(base, base, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(base),
            nn.ReLU(),
            ResidualBlock(base, base),
        )
        self.scene_code = nn.Linear(base, scaled(SCENE_CODE, width))
        self.scene_head = nn.Linear(scaled(SCENE_CODE, width), n_scenes)
        self.top = ConvBlock(base, top, pool=(2, time_pooling))
        self.gru = BiGru(top, top // 2)
        self.event_head = nn.Linear(top, n_events)
        self.tag_head = tag_head(top, scaled(DENSE, width), n_tags)
        initialize_all(self, self.event_head)

    def answer(self, log_mel: Tensor, tasks: Sequence[Task], *, embed: bool) -> Outputs:
        """Answer tasks by the paper's heads; see `ThreeTasks`."""
        common = self.trunk(log_mel[:, None])
        scene = None
        if "scene" in tasks:
            code = self.scene_code(self.scene_branch(common).mean(dim=(2, 3)))
            scene = self.scene_head(code)
            if not embed:
                return Outputs(scene=scene)
        embedding, _ = self.embed(mean_over_mel(self.top(common)))
        return Outputs(
            embedding=embedding,
            scene=scene,
            tag=self.tag_head(embedding.mean(dim=1)) if "tag" in tasks else None,
            event=self.event_head(embedding) if "event" in tasks else None,
        )


class DcaseNetV3(ThreeTasks):
    """The released network: v2 with layers that serve one task alone (Figure 1-(c)).

    13,882,920 parameters, the paper's 13.2 × 2**20; layer for layer the authors' release, to whose
    state dict `dcasenet.weights.key_map` has the mapping.

    After three blocks the path forks into a common block and one that the scene alone reads;
    both maps, side by side, feed two GRUs. Events read the second GRU, tags the mean of both.

    Args:
        n_scenes: Number of scene labels.
        n_tags: Number of tag labels.
        n_events: Number of event labels.
        width: Factor on every channel, GRU and dense width.
        time_pooling: Steps of the last pooling in time: 5 is the paper's (a step of 0.8 s), 1
            leaves time alone (0.16 s).

    Shape:
        - Input: (batch, 128, frames) normalized log-mel, at least 40 frames.
        - Output: see `Outputs`; steps = frames // (8 × time_pooling).

    Example:
        >>> network = DcaseNetV3(n_scenes=10, n_tags=80, n_events=14, width=0.25)
        >>> network(torch.randn(2, 128, 251)).embedding.shape
        torch.Size([2, 6, 128])
    """

    name: ClassVar[str] = "v3"

    def __init__(
        self,
        n_scenes: int,
        n_tags: int,
        n_events: int,
        width: float = 1.0,
        time_pooling: int = 5,
    ) -> None:
        super().__init__()
        base, scene = scaled(BACKBONE_CHANNELS[-1], width), scaled(SCENE_CHANNELS, width)
        hidden = base // 2
        self.trunk = backbone(width)
        self.common = ConvBlock(base, base, pool=(2, time_pooling))
        self.scene_block = ConvBlock(base, base, pool=(2, time_pooling))
        self.scene_branch = nn.Sequential(
            ResidualBlock(base, scene, stride=2),
            ResidualBlock(scene, scene),
            ResidualBlock(scene, scene),
        )
        self.scene_code = nn.Linear(scene, scaled(SCENE_CODE, width))
        self.scene_head = nn.Linear(scaled(SCENE_CODE, width), n_scenes)
        self.tag_gru = BiGru(2 * base, hidden)
        self.event_gru = BiGru(2 * base, hidden)
        self.event_head = nn.Linear(2 * hidden, n_events)
        self.tag_head = tag_head(4 * hidden, scaled(DENSE, width), n_tags)
        initialize_all(self, self.event_head)

    def answer(self, log_mel: Tensor, tasks: Sequence[Task], *, embed: bool) -> Outputs:
        """Answer tasks by the paper's heads; see `ThreeTasks`."""
        shared = self.trunk(log_mel[:, None])
        scene_map = self.scene_block(shared)
        scene = None
        if "scene" in tasks:
            code = self.scene_code(self.scene_branch(scene_map).mean(dim=(2, 3)))
            scene = self.scene_head(code)
            if not embed:
                return Outputs(scene=scene)
        sequence = mean_over_mel(torch.cat((self.common(shared), scene_map), dim=1))
        embedding, for_events = self.embed(sequence)
        return Outputs(
            embedding=embedding,
            scene=scene,
            tag=self.tag_head(embedding.mean(dim=1)) if "tag" in tasks else None,
            event=self.event_head(for_events) if "event" in tasks else None,
        )

    def unpooled(self, log_mel: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the GRUs' maps before the last pooling; see `ThreeTasks`."""
        shared = self.trunk(log_mel[:, None])
        maps = torch.cat((self.common.convolve(shared), self.scene_block.convolve(shared)), dim=1)
        return maps, self.common.pool

    def embed(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Run both GRUs side by side; see `ThreeTasks`."""
        for_events = self.event_gru(sequence)[0]
        return torch.cat((self.tag_gru(sequence)[0], for_events), dim=2), for_events


NETWORKS: dict[str, type[DcaseNetV1 | DcaseNetV2 | DcaseNetV3]] = {
    network.name: network for network in (DcaseNetV1, DcaseNetV2, DcaseNetV3)
}


def create(
    name: str,
    *,
    n_scenes: int = 10,
    n_tags: int = 80,
    n_events: int = 14,
    width: float = 1.0,
    time_pooling: int = 5,
) -> nn.Module:
    """Build a network with random weights, drawn as the authors draw them.

    Args:
        name: ``"v1"``, ``"v2"`` or ``"v3"``.
        n_scenes: Number of scene labels (10 in the paper, Table 1).
        n_tags: Number of tag labels (80).
        n_events: Number of event labels (14).
        width: Factor on every channel, GRU and dense width, 1/16 or more.
        time_pooling: Steps of the last pooling in time, 1 to 5: 5 is the paper's (a step of the
            network is 0.8 s), 1 leaves time alone (0.16 s).

    Returns:
        The network, in training mode: (batch, 128, frames) log-mel to `Outputs`.

    Raises:
        UnknownModelError: No architecture has this name.
        ValueError: A number of labels, the width or the pooling is out of range.

    Example:
        >>> network = create("v3", n_scenes=4, n_tags=6, n_events=3, width=0.25)
        >>> network(torch.randn(1, 128, 40)).tag.shape
        torch.Size([1, 6])
    """
    if name not in NETWORKS:
        raise UnknownModelError("architecture", name, NETWORKS)
    if min(n_scenes, n_tags, n_events) < 1:
        raise ValueError(
            f"Every task needs at least one label; got n_scenes={n_scenes}, n_tags={n_tags}, "
            f"n_events={n_events}."
        )
    if not 1 / 16 <= width <= 16:
        raise ValueError(f"width={width} is out of range; give 1/16 to 16 (1.0 is the paper's).")
    if time_pooling not in range(1, 6):
        raise ValueError(
            f"time_pooling={time_pooling!r} is out of range; give 1 (steps of 0.16 s) to 5 (0.8 s, "
            "the paper's)."
        )
    return NETWORKS[name](n_scenes, n_tags, n_events, width, time_pooling)
