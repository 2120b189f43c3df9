"""Lightning's checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from dcasenet.atomic import write_bytes
from dcasenet.errors import DcasenetError
from dcasenet.weights.checkpoint import NOT_A_STATE_DICT, why_refused


class WholeFiles(TorchCheckpointIO):
    """Write each checkpoint beside the one of the same name, then let it take that name.

    A process that is killed, or a disk that is full, leaves the previous checkpoint as it was.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            DcasenetError: It cannot be written.
        """
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            write_bytes(Path(path), buffer.getvalue())
        except OSError as error:
            size = buffer.getbuffer().nbytes / 1e6
            raise DcasenetError(
                f"The checkpoint {path} ({size:.1f} MB) cannot be written: "
                f"{error.strerror or error}. The previous one is as it was: make room and give "
                "the same command, which goes on from there."
            ) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint as tensors and plain values, whatever Lightning would do by itself.

        Raises:
            DcasenetError: It is damaged, or holds objects that only code could make.
        """
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)
        except NOT_A_STATE_DICT as error:
            raise DcasenetError(
                f"The checkpoint {path} is damaged, or holds objects that could run code: "
                f"{why_refused(error)}. Training goes on only from tensors and plain values. "
                "Delete it to begin anew."
            ) from error
