"""One network made of several: each task is answered by a checkpoint of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dcasenet.errors import TaskNotAvailableError
from dcasenet.models.base import Outputs
from dcasenet.spec import TASKS, Task

# Of the members that were used, the last one's embedding is given.
BY_EMBEDDING: tuple[Task, ...] = ("scene", "event", "tag")


class ComposedNetwork(nn.Module):
    """Answer each task with the network that was fine-tuned for it.

    A member is loaded when it is first used, by one thread while others wait, and from then
    on is a submodule like any other; `parameters` and `state_dict` show the members loaded so far.

    Args:
        loaders: Task → what loads its network, on the CPU.

    Shape:
        - Input: (batch, 128, frames) normalized log-mel, at least 40 frames.
        - Output: see `Outputs`. Its embedding is that of one member: the tags' if they or nothing
          were requested, else the events', else the scene's. `member` gives any of them.

    Example:
        >>> from dcasenet.models.dcasenet import create
        >>> network = ComposedNetwork({"tag": lambda: create("v3", n_tags=5, width=0.125)})
        >>> network(torch.randn(1, 128, 40), tasks=["tag"]).tag.shape
        torch.Size([1, 5])
    """

    anchor: Tensor

    def __init__(self, loaders: Mapping[Task, Callable[[], nn.Module]]) -> None:
        super().__init__()
        self.loaders = dict(loaders)
        self.members = nn.ModuleDict()
        # Empty, and there to be moved and cast: a member that is loaded later follows it.
        self.register_buffer("anchor", torch.empty(0, dtype=torch.float32), persistent=False)
        self._lock = threading.RLock()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that have a member."""
        return tuple(self.loaders)

    def member(self, task: Task) -> nn.Module:
        """Return the network of one task, loading it if need be.

        Raises:
            TaskNotAvailableError: The task has no member.
            WeightsError: Its file cannot be loaded.
        """
        if task not in self.loaders:
            raise TaskNotAvailableError(
                f"No member answers {task!r}; there are members for {', '.join(self.loaders)}."
            )
        with self._lock:
            if task not in self.members:
                # Parameters that are made in inference mode could never be trained.
                with torch.inference_mode(mode=False), torch.device("cpu"):
                    network = self.loaders[task]().to(self.anchor).train(self.training)
                self.members[task] = network
            return self.members[task]

    def forward(self, log_mel: Tensor, tasks: Sequence[Task] = TASKS) -> Outputs:
        """Answer the requested tasks, each by its own member; with none, embed as for tags."""
        if not tasks:
            return Outputs(embedding=self.member("tag")(log_mel, tasks=()).embedding)
        ordered = [task for task in BY_EMBEDDING if task in tasks]
        answers = {task: self.member(task)(log_mel, tasks=(task,)) for task in ordered}
        return Outputs(
            embedding=answers[ordered[-1]].embedding,
            **{task: getattr(answer, task) for task, answer in answers.items()},
        )

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]  # a lock cannot be copied or pickled
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lock = threading.RLock()
