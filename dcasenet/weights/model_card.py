"""Write the model card of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dcasenet.spec import ModelSpec, Task
from dcasenet.text import json_text, markdown, one_line

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

# The Hugging Face Hub's identifiers of licenses that weights are likely to have.
HUB_LICENSES = frozenset(
    {"mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "openrail"}
    | {"gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "wtfpl", "zlib", "0bsd"}
    | {"cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0"}
    | {"cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0"}
    | {"cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0"}
    | {"cc-by-nc-sa-4.0", "odbl", "pddl", "odc-by", "etalab-2.0", "eupl-1.1", "eupl-1.2"}
)
OTHER_NAMES = {"cc0": "cc0-1.0", "apache-2": "apache-2.0", "bsd": "bsd-3-clause"}
VERBS: Mapping[Task, str] = {
    "scene": "classify_scene",
    "tag": "tag",
    "event": "detect_events",
}
TASK_NAMES: Mapping[str, str] = {
    "scene": "Acoustic scene classification",
    "tag": "Audio tagging",
    "event": "Sound event detection",
}
# Prefix of a figure's name → the split that it was measured on.
SPLITS = (("validation_", "validation"), ("test_", "test"))
HUB_TAGS: Mapping[Task, str] = {
    "scene": "acoustic-scene-classification",
    "tag": "audio-tagging",
    "event": "sound-event-detection",
}


def model_card(spec: ModelSpec, address: str) -> str:
    """Return the ``README.md`` of a model.

    Args:
        spec: Specification of the model.
        address: Argument of `dcasenet.load`: a folder, or ``"org/name"``.

    Returns:
        Markdown with the Hub's YAML header.

    Example:
        >>> card = model_card(ModelSpec("v3", "mine", scenes=("park", "tram")), "me/parks")
        >>> 'dcasenet.load("me/parks")' in card
        True
    """
    sections = [
        _header(spec),
        f"# DcaseNet {markdown(spec.name)}, {markdown(spec.stage)}",
        f"Answers: {', '.join(spec.tasks)}. Width {spec.width:g}.",
        _usage(spec, address),
        *(_labels(spec, task) for task in spec.tasks),
        _metrics(spec),
        _front_end(spec),
        "## License and origin\n\n"
        f"- License of the weights: {markdown(spec.license)}\n"
        f"- Training data: {markdown(spec.training_data)}\n"
        f"- Source: {markdown(spec.source or 'not stated')}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def license_id(name: str) -> str | None:
    """Return the Hugging Face Hub's identifier of a license; None if it has none.

    Example:
        >>> license_id("CC BY 4.0"), license_id("MIT"), license_id("the author's own")
        ('cc-by-4.0', 'mit', None)
    """
    words = re.sub(r"[\s_]+", "-", name.strip().lower())
    words = re.sub(r"-(license|licence)$", "", words)
    known = OTHER_NAMES.get(words, words)
    return known if known in HUB_LICENSES else None


def _header(spec: ModelSpec) -> str:
    """Return the metadata for the Hub: license, data sets, figures by task."""
    from huggingface_hub import ModelCardData

    known = license_id(spec.license)
    results = _results(spec)
    data = ModelCardData(
        library_name="dcasenet",
        license=known or "other",
        license_name=None if known else slug(spec.license),
        pipeline_tag="audio-classification",
        tags=[HUB_TAGS[task] for task in spec.tasks],
        datasets=[slug(name) for name in spec.datasets] or None,
        model_name=markdown(f"DcaseNet {spec.name}, {spec.stage}") if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _results(spec: ModelSpec) -> list[EvalResult]:
    """Return the figures, each with its task, its data and its split."""
    from huggingface_hub import EvalResult

    results = []
    for task, figures in spec.metrics.items():
        named = spec.measured_on.get(task) or ", ".join(spec.datasets)
        data = markdown(named or f"the data of {spec.stage}")
        for name, value in figures.items():
            split, figure = next(
                ((split, name.removeprefix(p)) for p, split in SPLITS if name.startswith(p)),
                (None, name),
            )
            results.append(
                EvalResult(
                    task_type="audio-classification",
                    task_name=TASK_NAMES.get(task, markdown(task)),
                    dataset_type=slug(data),
                    dataset_name=data,
                    dataset_split=split,
                    metric_type=slug(figure),
                    metric_name=markdown(figure.replace("_", " ")),
                    metric_value=value,
                )
            )
    return results


def slug(name: str) -> str:
    """Return a name in the form of the Hub's identifiers.

    Example:
        >>> slug("TAU Urban Acoustic Scenes 2020 Mobile, development set")
        'TAU-Urban-Acoustic-Scenes-2020-Mobile-development-set'
    """
    return re.sub(r"[^\w.]+", "-", name).strip("-.")[:96] or "unknown"


def _usage(spec: ModelSpec, address: str) -> str:
    calls = "\n".join(f'model.{VERBS[task]}("recording.wav")' for task in spec.tasks)
    return (
        "## Use\n\n```python\nimport dcasenet\n\n"
        f"model = dcasenet.load({_quoted(address)})\n{calls}\n```"
    )


def _labels(spec: ModelSpec, task: Task) -> str:
    labels = ", ".join(map(_code, spec.labels(task)))
    return f"## Labels: {task} ({len(spec.labels(task))})\n\n{labels}"


def _code(text: str) -> str:
    """Return text as inline code, with HTML escapes where Markdown code cannot represent it."""
    text = one_line(text)
    if set(text).isdisjoint("`<>&|"):
        return f"`{text}`"
    return f"<code>{markdown(text)}</code>"


def _quoted(text: str) -> str:
    """Return text as a JSON string, which is valid in YAML and Python too, without HTML in it."""
    return json_text(text).replace("<", "\\u003c")


def _metrics(spec: ModelSpec) -> str:
    rows = [
        f"| {markdown(task)} | {markdown(name)} | {value:g} |"
        for task, values in spec.metrics.items()
        for name, value in values.items()
    ]
    if not rows:
        return ""
    table = "\n".join(["| task | figure | value |", "|---|---|---|", *rows])
    return f"## Figures\n\n{table}\n\n{markdown(spec.protocol)}".rstrip()


def _front_end(spec: ModelSpec) -> str:
    s = spec.frontend
    thresholds = sorted(set(spec.thresholds.values()))
    active = ""
    if len(thresholds) == 1:
        active = f" An event is active above {thresholds[0]:g}."
    elif thresholds:
        active = f" An event is active above {thresholds[0]:g} to {thresholds[-1]:g}, by label."
    return (
        "## Front end\n\n"
        f"{s.sample_rate} Hz, {s.n_mels} mel bins up to {s.max_frequency:g} Hz, windows of "
        f"{s.win_length} samples every {s.hop_length}, normalized by {s.normalization}.{active}"
    )
