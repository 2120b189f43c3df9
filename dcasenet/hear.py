"""The API of HEAR, the Holistic Evaluation of Audio Representations (https://hearbenchmark.com).

::

    python -m heareval.embeddings.runner dcasenet.hear --tasks-dir tasks/

Recordings come at 48,000 Hz, one of the rates that the benchmark has, and are resampled as the
checkpoint wants it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dcasenet.audio.resample import resample
from dcasenet.errors import AudioError
from dcasenet.inference.fine import FineEmbedding
from dcasenet.inference.model import SoundModel
from dcasenet.loading import load

SAMPLE_RATE = 48_000


class HearModel(nn.Module):
    """A model as HEAR wants it; `load_model` makes it.

    Args:
        model: A loaded model.

    Attributes:
        sample_rate: Rate of the audio that the functions below take, in Hz: 48,000.
        scene_embedding_size: Length of a recording's embedding.
        timestamp_embedding_size: Length of the embedding of each 40 ms.
    """

    def __init__(self, model: SoundModel) -> None:
        super().__init__()
        self.sound_model = model
        self.fine = FineEmbedding(model)
        self.sample_rate = SAMPLE_RATE
        self.scene_embedding_size = model.spec.embedding_size
        self.timestamp_embedding_size = self.fine.size


def load_model(model_file_path: str = "") -> HearModel:
    """Load a model for HEAR.

    Args:
        model_file_path: What `dcasenet.load` takes: a weights file, a model directory, a
            repository. Empty for the default checkpoint.

    Raises:
        UnknownModelError, WeightsError: See `dcasenet.load`.

    Example:
        >>> load_model().sample_rate
        48000
    """
    return HearModel(load(model_file_path or None))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Embed each recording as a whole, as `SoundModel.embed` does.

    Args:
        audio: (recordings, samples) at 48,000 Hz, on any device.
        model: The result of `load_model`.

    Returns:
        (recordings, ``scene_embedding_size``) float32, on the model's device.

    Raises:
        AudioError: The audio is of another shape, or not finite.

    Example:
        >>> get_scene_embeddings(torch.zeros(2, 48_000), load_model()).shape
        torch.Size([2, 256])
    """
    _check(audio)
    vectors = model.sound_model.embed(list(audio.detach().cpu().numpy()), SAMPLE_RATE)
    return torch.stack(vectors).to(model.sound_model.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embed each 40 ms of each recording.

    Args:
        audio: (recordings, samples) at 48,000 Hz, on any device.
        model: The result of `load_model`.

    Returns:
        Embeddings (recordings, steps, ``timestamp_embedding_size``) float32, and the center of each
        in milliseconds (recordings, steps), both on the model's device.

    Raises:
        AudioError: The audio is of another shape, or not finite.

    Example:
        >>> embeddings, timestamps = get_timestamp_embeddings(torch.zeros(2, 48_000), load_model())
        >>> embeddings.shape[:2], timestamps[0, :3].tolist()
        (torch.Size([2, 25]), [10.0, 50.0, 90.0])
    """
    _check(audio)
    fine, spec = model.fine, model.sound_model.spec
    waveforms = resample(
        audio.detach().cpu().float().numpy(), SAMPLE_RATE, fine.sample_rate, spec.resampler
    )
    with torch.no_grad():
        embeddings = fine(torch.from_numpy(waveforms).to(model.sound_model.device))
    centers = 1_000 * fine.centers(waveforms.shape[1])
    timestamps = centers.float().to(embeddings.device)
    return embeddings, timestamps.expand(len(embeddings), -1)


def _check(audio: Tensor) -> None:
    if audio.dim() != 2 or 0 in audio.shape:
        raise AudioError(
            f"The audio has the shape {tuple(audio.shape)}. Accepted is (recordings, samples) at "
            f"{SAMPLE_RATE:,} Hz, at least one of each."
        )
    if not torch.isfinite(audio).all():
        raise AudioError(
            "The audio holds NaN or infinite values. Only finite samples are accepted."
        )
