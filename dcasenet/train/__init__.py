"""Training on any data set: fine-tuning, distillation, the paper's experiments (extra ``train``).

::

    from dcasenet.train import finetune

    tuned = finetune(model, data="my_sounds/", task="scene")
    tuned.save_pretrained("my_model/")

Nothing outside this package imports it, but for the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcasenet.train.data.audio_folder import AudioFolder
    from dcasenet.train.data.audio_table import AudioTable
    from dcasenet.train.data.dataset import Example, LabeledEvent, SoundDataset
    from dcasenet.train.data.esc import ESC10, ESC50
    from dcasenet.train.data.fsdkaggle import FSDKaggle2019Curated
    from dcasenet.train.data.nigens import TAUNigens2020
    from dcasenet.train.data.resolve import as_dataset
    from dcasenet.train.data.store import WaveformStore, decode_examples
    from dcasenet.train.data.urban import TAUUrban2020Mobile
    from dcasenet.train.distillation.distill import distill
    from dcasenet.train.distillation.recipe import DistillRecipe
    from dcasenet.train.engine.untrained import untrained
    from dcasenet.train.finetuning.cross_validation import CrossValidation, cross_validate
    from dcasenet.train.finetuning.finetune import finetune

# Public name → the module that it lives in, imported when the name is first used.
_HOME = {
    "AudioFolder": "data.audio_folder",
    "AudioTable": "data.audio_table",
    "CrossValidation": "finetuning.cross_validation",
    "DistillRecipe": "distillation.recipe",
    "ESC10": "data.esc",
    "ESC50": "data.esc",
    "FSDKaggle2019Curated": "data.fsdkaggle",
    "TAUNigens2020": "data.nigens",
    "TAUUrban2020Mobile": "data.urban",
    "WaveformStore": "data.store",
    "as_dataset": "data.resolve",
    "cross_validate": "finetuning.cross_validation",
    "decode_examples": "data.store",
    "distill": "distillation.distill",
    "Example": "data.dataset",
    "LabeledEvent": "data.dataset",
    "SoundDataset": "data.dataset",
    "finetune": "finetuning.finetune",
    "untrained": "engine.untrained",
}
# What the extra brings; without it, the message says so.
_EXTRA = ("lightning", "scipy", "sklearn")

__all__ = [
    "ESC10",
    "ESC50",
    "AudioFolder",
    "AudioTable",
    "CrossValidation",
    "DistillRecipe",
    "Example",
    "FSDKaggle2019Curated",
    "LabeledEvent",
    "SoundDataset",
    "TAUNigens2020",
    "TAUUrban2020Mobile",
    "WaveformStore",
    "as_dataset",
    "cross_validate",
    "decode_examples",
    "distill",
    "finetune",
    "untrained",
]


if not TYPE_CHECKING:  # a type checker that saw this would believe in any name

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'dcasenet.train' has no attribute {name!r}")
        try:
            value = getattr(import_module(f"dcasenet.train.{_HOME[name]}"), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in _EXTRA:
                raise
            raise ImportError(
                f"Training needs {missing}. Type: pip install 'dcasenet[train]'"
            ) from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
