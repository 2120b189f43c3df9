"""Public names and the modules that they live in; `dcasenet/__init__.py` imports them when used."""

from . import (
    annotations as annotations,
    batch as batch,
    errors as errors,
    hear as hear,
    inference as inference,
    labels as labels,
    live as live,
    onnx as onnx,
    plot as plot,
    report as report,
    results as results,
    sklearn as sklearn,
    spec as spec,
    train as train,
    verify as verify,
    xares as xares,
)
from .audio.check import AudioReport as AudioReport, check as check
from .errors import (
    AudioError as AudioError,
    ChecksumError as ChecksumError,
    DcasenetError as DcasenetError,
    JobError as JobError,
    OfflineError as OfflineError,
    TaskNotAvailableError as TaskNotAvailableError,
    UnknownLabelError as UnknownLabelError,
    UnknownModelError as UnknownModelError,
    WeightsError as WeightsError,
)
from .inference.events import decode_events as decode_events
from .inference.model import SoundModel as SoundModel
from .loading import load as load
from .models.base import Outputs as Outputs
from .models.dcasenet import create as create
from .recordings import example as example
from .results import (
    Analysis as Analysis,
    Embedding as Embedding,
    Event as Event,
    Events as Events,
    Scene as Scene,
    ScoredLabel as ScoredLabel,
    Tags as Tags,
)
from .spec import (
    FrontEndSettings as FrontEndSettings,
    ModelSpec as ModelSpec,
)
from .weights.manifest import available_models as available_models

__version__: str
