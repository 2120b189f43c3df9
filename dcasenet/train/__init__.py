"""Training: fine-tuning, the open checkpoint's data and recipe (extra ``train``).

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
    from dcasenet.train.audio_folder import AudioFolder
    from dcasenet.train.audio_table import AudioTable
    from dcasenet.train.clips import WaveformStore, decode_examples
    from dcasenet.train.data import as_dataset
    from dcasenet.train.dataset import Example, LabelledEvent, SoundDataset
    from dcasenet.train.distillation import distill
    from dcasenet.train.esc import ESC10, ESC50
    from dcasenet.train.finetuning import finetune
    from dcasenet.train.fsdkaggle import FSDKaggle2019Curated
    from dcasenet.train.nigens import TAUNigens2020
    from dcasenet.train.random_weights import untrained
    from dcasenet.train.recipe import DistillRecipe
    from dcasenet.train.urban import TAUUrban2020Mobile

# Public name → the module that it lives in, imported when the name is first used.
_HOME = {
    "AudioFolder": "audio_folder",
    "AudioTable": "audio_table",
    "DistillRecipe": "recipe",
    "ESC10": "esc",
    "ESC50": "esc",
    "FSDKaggle2019Curated": "fsdkaggle",
    "TAUNigens2020": "nigens",
    "TAUUrban2020Mobile": "urban",
    "WaveformStore": "clips",
    "as_dataset": "data",
    "decode_examples": "clips",
    "distill": "distillation",
    "Example": "dataset",
    "LabelledEvent": "dataset",
    "SoundDataset": "dataset",
    "finetune": "finetuning",
    "untrained": "random_weights",
}
# What the extra brings; without it, the message says so.
_EXTRA = ("lightning", "scipy", "sklearn")

__all__ = [
    "ESC10",
    "ESC50",
    "AudioFolder",
    "AudioTable",
    "DistillRecipe",
    "Example",
    "FSDKaggle2019Curated",
    "LabelledEvent",
    "SoundDataset",
    "TAUNigens2020",
    "TAUUrban2020Mobile",
    "WaveformStore",
    "as_dataset",
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
