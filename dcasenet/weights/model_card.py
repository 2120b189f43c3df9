"""The model card: what a checkpoint is, for the people who come across it."""

from __future__ import annotations

from collections.abc import Mapping

from dcasenet.spec import ModelSpec, Task
from dcasenet.text import json_line, markdown, one_line

# Licences whose lower-case names are the Hugging Face Hub's own.
HUB_LICENCES = (
    "mit",
    "apache-2.0",
    "bsd-3-clause",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
)
VERBS: Mapping[Task, str] = {
    "scene": "classify_scene",
    "tag": "tag",
    "event": "detect_events",
}
HUB_TAGS: Mapping[Task, str] = {
    "scene": "acoustic-scene-classification",
    "tag": "audio-tagging",
    "event": "sound-event-detection",
}


def model_card(spec: ModelSpec, address: str) -> str:
    """Write the ``README.md`` of a model.

    Args:
        spec: What the model is.
        address: What `dcasenet.load` finds it by: a folder, or ``"org/name"``.

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
        "## Licence and origin\n\n"
        f"- Licence of the weights: {markdown(spec.licence)}\n"
        f"- Training data: {markdown(spec.training_data)}\n"
        f"- Source: {markdown(spec.source or 'not stated')}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(spec: ModelSpec) -> str:
    licence = spec.licence.lower()
    known = licence in HUB_LICENCES
    # A JSON string is a YAML string, whatever it holds.
    lines = [
        "---",
        "library_name: dcasenet",
        f"license: {licence if known else 'other'}",
        *([] if known else [f"license_name: {_quoted(spec.licence)}"]),
        "pipeline_tag: audio-classification",
        "tags:",
        *(f"- {HUB_TAGS[task]}" for task in spec.tasks),
        "---",
    ]
    return "\n".join(lines)


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
    """Return text as inline code; what Markdown would not take for it is escaped as HTML."""
    text = one_line(text)
    if set(text).isdisjoint("`<>&|"):
        return f"`{text}`"
    return f"<code>{markdown(text)}</code>"


def _quoted(text: str) -> str:
    """Return text as a string of JSON, which YAML and Python read as well, without HTML in it."""
    return json_line(text).replace("<", "\\u003c")


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
        f"{s.win_length} samples every {s.hop_length}, normalised by {s.normalization}.{active}"
    )
