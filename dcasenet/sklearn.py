"""scikit-learn: embeddings of recordings as a transformer, for pipelines, searches and grids.

::

    from sklearn.datasets import load_files
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from dcasenet.sklearn import Embedder

    data = load_files("my_sounds/", load_content=False)  # a folder for each class
    classifier = make_pipeline(Embedder(), StandardScaler(), LogisticRegression())
    classifier.fit(data.filenames, data.target)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcasenet.audio.validation import as_array
from dcasenet.errors import AudioError
from dcasenet.loading import load
from dcasenet.results import Floats
from dcasenet.spec import Task

try:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        TransformerMixin,
    )
except ImportError as error:
    raise ImportError(
        "dcasenet.sklearn needs scikit-learn. Type: pip install 'dcasenet[sklearn]'"
    ) from error

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from dcasenet.inference.model import SoundModel
    from dcasenet.onnx import OnnxSoundModel


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Recordings to embeddings of the frozen backbone; nothing is learned.

    It is stateless: `fit` loads the model and checks the parameters, `transform` works without it.
    Clones share the loaded model. One that was given by name is not pickled but loaded again, so
    that little goes to worker processes.

    Args:
        model: What `dcasenet.load` takes, or a loaded model of any runtime; None is the default
            checkpoint.
        sample_rate: Rate of the arrays in X, in Hz; recordings in files state their own.
        task: Whose backbone, for a model whose tasks have networks of their own.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> Embedder(sample_rate=24_000).fit_transform(rng.standard_normal((2, 48_000))).shape
        (2, 256)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | SoundModel | OnnxSoundModel | None = None,
        *,
        sample_rate: int | None = None,
        task: Task = "tag",
    ) -> None:
        self.model = model
        self.sample_rate = sample_rate
        self.task = task

    def fit(self, X: Any, y: Any = None) -> Embedder:  # noqa: N803 - scikit-learn's name
        """Load the model.

        Args:
            X: As for `transform`; only its form is checked.
            y: Ignored.

        Returns:
            The transformer itself.

        Raises:
            AudioError: X is not a sequence of recordings.
            UnknownModelError, WeightsError: See `dcasenet.load`.
        """
        recordings(X)
        self._model()
        return self

    def transform(self, X: Any) -> Floats:  # noqa: N803 - scikit-learn's name
        """Embed recordings.

        Args:
            X: A sequence of recordings of any length, each as `SoundModel.embed` takes it: paths,
                arrays (samples,) or (channels, samples), tuples (samples, sample_rate). A column
                of paths (NumPy, pandas) will do, and so will a 2-D array with a recording in each
                row.

        Returns:
            Shape (recordings, embedding size), float32.

        Raises:
            AudioError: A recording cannot be used; the message says which.
        """
        audios = recordings(X)
        model = self._model()
        rated = [_with_rate(audio, self.sample_rate) for audio in audios]
        vectors = model.embed(rated, task=self.task)
        return np.stack([np.asarray(vector) for vector in vectors])

    @property
    def _n_features_out(self) -> int:
        return int(self._model().spec.embedding_size)

    def _model(self) -> SoundModel | OnnxSoundModel:
        given, loaded = getattr(self, "_loaded", (None, None))
        if loaded is None or given is not self.model:
            loaded = self._load()
            self._loaded = (self.model, loaded)
        return loaded

    def _load(self) -> SoundModel | OnnxSoundModel:
        if self.model is None or isinstance(self.model, str | os.PathLike):
            return load(self.model)
        return self.model

    def __sklearn_clone__(self) -> Embedder:
        copy = type(self)(**self.get_params(deep=False))
        if hasattr(self, "_loaded"):
            copy._loaded = self._loaded
        return copy

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_loaded", None)
        return state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True  # recordings may differ in length: X has no number of features
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def recordings(X: Any) -> list[Any]:  # noqa: N803 - scikit-learn's name
    """Return the recordings that a transformer's X holds.

    Raises:
        AudioError: It holds none, or is a single one.
        TypeError: It is sparse.

    Example:
        >>> len(recordings(np.zeros((3, 100)))), recordings(np.array([["a.wav"], ["b.wav"]]))
        (3, ['a.wav', 'b.wav'])
    """
    if hasattr(X, "tocsr"):
        raise TypeError("Sparse data was passed, and waveforms are dense. Use X.toarray().")
    if isinstance(X, str | bytes | os.PathLike) or hasattr(X, "read"):
        raise AudioError(f"X is a single recording ({X!r:.60}). Give a list of them: [{X!r:.60}].")
    if isinstance(X, list | tuple):
        found = list(X)
    else:
        array = as_array(X)
        found = _of_array(np.asarray(X) if array is None else array)
    if not found:
        raise AudioError("X has 0 recordings, and a minimum of 1 is required.")
    return found


def _of_array(array: NDArray[Any]) -> list[Any]:
    if array.dtype.kind == "c":
        raise AudioError("Complex data not supported. Give waveforms of real numbers.")
    is_numbers = array.dtype.kind not in "OUST"
    if not is_numbers and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # a table of one column
    if not is_numbers and array.ndim == 1:
        return list(array.tolist())
    if is_numbers and array.ndim in (2, 3):
        # Of 64 bits: Python's own numbers, as tables hold them, and no PCM.
        is_wide = array.dtype.kind in "iu" and array.dtype.itemsize > 4
        return list(array.astype(np.float32) if is_wide else array)
    raise AudioError(
        f"X is an array of {array.dtype} of the shape {array.shape}. Expected 2D array, got "
        f"{array.ndim}D array instead: give a list of recordings, a column of paths, or a waveform "
        f"in each row. Reshape your data with X.reshape(1, -1) if it is one waveform."
    )


def _with_rate(audio: Any, sample_rate: int | None) -> Any:
    """Pair an array with its rate; a list of numbers is an array."""
    if isinstance(audio, str):
        return str(audio)  # NumPy's are arrays, too
    if isinstance(audio, list):
        audio = np.asarray(audio, np.float32)
    return audio if sample_rate is None or as_array(audio) is None else (audio, sample_rate)
