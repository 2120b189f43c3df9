"""The command `web`: the page that runs a model in the browser, served or written to a folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcasenet.cli.options import CheckpointOptions, with_options

if TYPE_CHECKING:
    from dcasenet.onnx import OnnxSoundModel


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command()(web)


@with_options
def web(
    checkpoint: CheckpointOptions,
    onnx: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE.onnx]", help="An exported model, instead of a stage."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to serve at; 0 selects a free one.")
    ] = 8000,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open a browser.")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write the page to this folder instead, for any web server.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also write into a folder that is not empty.")
    ] = False,
) -> None:
    """Open a page that analyzes files and the microphone in the browser, locally."""
    import webbrowser

    from dcasenet.live.page import page_server, write_page

    if overwrite and output is None:
        raise typer.BadParameter("--overwrite is for --output; nothing else is written.")
    content = _model(onnx, checkpoint).content()
    if output is not None:
        write_page(content, output, overwrite=overwrite)
        typer.echo(f"{output}: the page. Any web server can serve this folder.")
        return
    with page_server(host, port, content) as server:
        url = f"http://{host}:{server.server_address[1]}/"
        typer.echo(f"Serving at {url} (Ctrl+C stops it)")
        if browser:
            webbrowser.open(url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _model(onnx: Path | None, checkpoint: CheckpointOptions) -> OnnxSoundModel:
    from dcasenet.loading import load
    from dcasenet.onnx import load as load_file

    if onnx is not None:
        return load_file(onnx)
    return load(
        checkpoint.model, stage=checkpoint.stage, weights=checkpoint.weights, runtime="onnx"
    )
