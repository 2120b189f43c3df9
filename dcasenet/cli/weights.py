"""Commands about weights: `models`, `info`, `download`, `convert` and `cache`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dcasenet.cli.options import Overwrite
from dcasenet.cli.output import Format, printable, say
from dcasenet.errors import ChecksumError, WeightsError
from dcasenet.results.exporters import csv_text
from dcasenet.spec import CURVE_THRESHOLDS, ModelSpec
from dcasenet.text import json_text, one_line
from dcasenet.weights import cache, manifest, metadata
from dcasenet.weights.sources import (
    Access,
    describe,
    expected_size,
    is_exported,
    is_offline,
)

FormatOption = Annotated[Format, typer.Option("--format", help="Output format.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache-dir", help="Cache folder, instead of the default.")
]
StageOption = Annotated[
    str | None,
    typer.Option(
        help="Checkpoint stage; see 'dcasenet models'. For a named architecture, default joint."
    ),
]

cache_commands = typer.Typer(help="Manage the checkpoint cache.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (models, info, download, convert):
        app.command()(command)
    app.add_typer(cache_commands, name="cache")


def models(output: FormatOption = Format.table, cache_dir: CacheOption = None) -> None:
    """List the pretrained checkpoints."""
    rows = [_row(spec, cache_dir) for spec in manifest.entries()]
    show(rows, output)


def info(
    model: Annotated[
        str | None, typer.Argument(help="A name, a weights file, an ONNX file, or a folder.")
    ] = None,
    stage: StageOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Describe a checkpoint: labels, license, training data, metrics, front end."""
    spec = _spec_of(model, stage)
    values = _plain(spec)
    if output is Format.json:
        typer.echo(json_text(values))
        return
    values |= _summaries(spec)
    show([{"field": name, "value": _text(value)} for name, value in values.items()], output)


def download(
    model: Annotated[str, typer.Argument(help="A name or a Hugging Face repository.")] = "v3",
    stage: StageOption = None,
    cache_dir: CacheOption = None,
) -> None:
    """Download a checkpoint into the cache, for use without a network."""
    access = Access(cache_dir, is_offline())
    if model not in manifest.ARCHITECTURES and "/" in model:
        from dcasenet.weights.hub import download_repository

        say(download_repository(model, access))
        return
    spec = manifest.find(*manifest.resolve(model, stage))
    stages = list(spec.members.values()) or [spec.stage]
    for name in stages:
        say(cache.obtain(manifest.find(model, name), access))


def convert(
    source: Annotated[Path, typer.Argument(help="A PyTorch state dict or safetensors file.")],
    target: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    model: Annotated[str, typer.Option(help="Architecture, if the file does not state it.")] = "v3",
    overwrite: Overwrite = False,
) -> None:
    """Turn a weights file into safetensors that carry labels, license and settings."""
    from dcasenet.weights import checkpoint
    from dcasenet.weights.hub import refusal

    if model not in manifest.ARCHITECTURES:
        raise typer.BadParameter(
            f"{model!r} is not an architecture; choose one of {', '.join(manifest.ARCHITECTURES)}."
        )
    if not overwrite and os.path.lexists(target) and not _is_ours(target):
        raise refusal(target)
    try:
        spec = checkpoint.convert(source, target, checkpoint.recognize(source, model))
    except OSError as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{target} cannot be written: {error.strerror or error}.") from error
    say(f"{target}: {describe(spec)}")


@cache_commands.command("list")
def list_cache(output: FormatOption = Format.table, cache_dir: CacheOption = None) -> None:
    """List the checkpoints and repositories in the cache."""
    found = [(file.checkpoint, file.size, file.path) for file in cache.cached_files(cache_dir)]
    for name, path in cache.hub_snapshots(cache_dir).items():
        size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
        found.append((name, size, path))
    rows = [
        {"checkpoint": name, "size": _megabytes(size), "path": str(path)}
        for name, size, path in found
    ]
    show(rows, output, empty=f"{cache.cache_folder(cache_dir)} holds no checkpoint.")


@cache_commands.command("verify")
def verify_cache(cache_dir: CacheOption = None) -> None:
    """Read every checkpoint in the cache, and fail if one is damaged."""
    results = [(file.path, cache.is_intact(file.path)) for file in cache.cached_files(cache_dir)]
    results += [(path, _is_intact_folder(path)) for path in cache.hub_snapshots(cache_dir).values()]
    for path, intact in results:
        say(f"{'intact ' if intact else 'DAMAGED'} {path}")
    if not results:
        say(f"{cache.cache_folder(cache_dir)} holds no checkpoint.")
    damaged = [str(path) for path, intact in results if not intact]
    if damaged:
        raise ChecksumError(
            f"Damaged: {', '.join(damaged)}. The next load downloads them again; or delete them."
        )


@cache_commands.command("clear")
def clear_cache(cache_dir: CacheOption = None) -> None:
    """Delete every checkpoint in the cache."""
    freed = cache.clear(cache_dir)
    say(f"{cache.cache_folder(cache_dir)}: {_megabytes(freed)} freed.")


def _spec_of(model: str | None, stage: str | None) -> ModelSpec:
    """Find the spec of a name, a file or a folder, without loading weights."""
    model, stage = manifest.resolve(model, stage)
    path = Path(model).expanduser()
    if model in manifest.ARCHITECTURES or not path.exists():
        return metadata.measured(manifest.find(model, stage))
    if is_exported(path):
        from dcasenet.onnx import load

        return load(path).spec
    from dcasenet.weights import hub

    config = hub.read_config(path) if path.is_dir() else None
    if config is not None:
        return config.spec
    spec = metadata.read_spec(path / hub.WEIGHTS if path.is_dir() else path)
    if spec is None:
        raise WeightsError(
            f"{path} has no description of its model. 'dcasenet convert {path} OUT.safetensors' "
            f"makes a file that has one."
        )
    return spec


def _is_ours(path: Path) -> bool:
    """Return whether a file is a safetensors file that describes itself."""
    try:
        return path.is_file() and metadata.read_spec(path) is not None
    except WeightsError:
        return False


def _is_intact_folder(path: Path) -> bool:
    from dcasenet.weights.hub import read_config, verified

    try:
        config = read_config(path)
        if config is None:
            return False
        for name in config.weights.values():
            verified(path, config, name)
    except WeightsError:
        return False
    return True


def _row(spec: ModelSpec, cache_dir: Path | None) -> dict[str, str]:
    parts = [manifest.find(spec.name, stage) for stage in spec.members.values()] or [spec]
    return {
        "name": spec.name,
        "stage": spec.stage,
        "tasks": " ".join(spec.tasks),
        "size": _size(parts),
        "license": spec.license,
        "cached": "yes" if all(cache.is_cached(part, cache_dir) for part in parts) else "no",
    }


def _size(parts: Sequence[ModelSpec]) -> str:
    """Return the bytes of a checkpoint's files; about, where the manifest does not state them."""
    stated = [part.file.size for part in parts if part.file and part.file.size is not None]
    if len(stated) == len(parts):
        return _megabytes(sum(stated))
    return f"about {_megabytes(sum(map(expected_size, parts)))}"


def _plain(spec: ModelSpec) -> dict[str, Any]:
    file = {"file": dataclasses.asdict(spec.file)} if spec.file else {}
    return {**spec.to_dict(), **file}


def _summaries(spec: ModelSpec) -> dict[str, str]:
    """Describe in a line the fields with too many numbers for a table; JSON has all of them."""
    curves = (
        f"precision and recall of {len(spec.curves)} events at {len(CURVE_THRESHOLDS)} thresholds"
    )
    known = spec.familiarity
    return {
        "curves": curves if spec.curves else "not measured",
        "familiarity": (
            f"not sure below {known.limit:g}; by {len(known.scales)} principal components of "
            f"embeddings of size {known.size}"
            if known
            else "not measured: always sure"
        ),
    }


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{one_line(name)}: {_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(one_line, value))
    return one_line(str(value))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def show(
    rows: Sequence[Mapping[str, str]],
    output: Format = Format.table,
    empty: str = "Nothing to list.",
) -> None:
    """Print rows of the same columns; a table goes without its frame into a file or pipe."""
    if output is Format.json:
        typer.echo("\n".join(json_text(row) for row in rows), nl=bool(rows))
    elif output is Format.csv:
        columns = list(rows[0]) if rows else []
        typer.echo(csv_text([columns, *(list(row.values()) for row in rows)]), nl=False)
    elif not rows:
        say(empty)
    else:
        _table(rows)


def _table(rows: Sequence[Mapping[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        # Text, since labels and paths may hold what rich takes for markup.
        table.add_row(*(Text(printable(value)) for value in row.values()))
    Console().print(table)
