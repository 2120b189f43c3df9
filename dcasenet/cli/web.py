"""The command `web`: the page that runs a model in the browser, served or written to a folder."""

from __future__ import annotations

import contextlib
import errno
import functools
import shutil
import tempfile
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import typer

import dcasenet
from dcasenet.cli.options import Model, Precision, Runtime, Stage, Weights, load_model
from dcasenet.errors import DcasenetError
from dcasenet.onnx import load

MODEL_NAME = "model.onnx"


def register(app: typer.Typer) -> None:
    """Add the command of this module to the command line."""
    app.command()(web)


def web(
    onnx: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE.onnx]", help="An exported model, instead of a stage."),
    ] = None,
    model: Model = "v3",
    stage: Stage = "open",
    weights: Weights = None,
    host: Annotated[str, typer.Option(help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to serve at; 0 takes any free one.")
    ] = 8000,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open a browser.")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the page here for any web server, instead."),
    ] = None,
) -> None:
    """Open a page that answers files and the microphone in the browser; no sound leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        exported = onnx or _export(Path(folder), model, stage, weights)
        load(exported)  # says what is wrong with it before a browser is shown it
        if output is not None:
            write_page(exported, output)
            typer.echo(f"{output}: the page. Any web server can serve this folder.")
            return
        with _server(host, port, exported) as server:
            url = f"http://{host}:{server.server_address[1]}/"
            typer.echo(f"Serving at {url} (Ctrl+C stops it)")
            if browser:
                webbrowser.open(url)
            with contextlib.suppress(KeyboardInterrupt):
                server.serve_forever()


def page_folder() -> Path:
    """Return the folder of the page: inside an installed package, beside it in a checkout.

    Raises:
        DcasenetError: It is in neither place.
    """
    package = Path(dcasenet.__file__).parent
    for folder in (package / "web", package.parent / "web"):
        if (folder / "index.html").is_file():
            return folder
    raise DcasenetError(
        "The files of the page are missing from this installation. Install the package again: "
        "pip install --force-reinstall dcasenet"
    )


def write_page(exported: Path, folder: Path) -> None:
    """Write the page and its model into a folder that is new or empty.

    Args:
        exported: The ONNX file.
        folder: Where to.

    Raises:
        DcasenetError: The folder holds something already.
        OSError: It cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DcasenetError(f"{folder} is not an empty folder. Give --output a new one.")
    shutil.copytree(page_folder(), folder, dirs_exist_ok=True)
    shutil.copyfile(exported, folder / MODEL_NAME)


class PageHandler(SimpleHTTPRequestHandler):
    """Serve the page's files, and the model beside them.

    Args:
        exported: The ONNX file.
    """

    # Not left to the system's own table, which may say anything of .js.
    extensions_map = {  # noqa: RUF012 - the base class has it so
        ".css": "text/css",
        ".html": "text/html",
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        "": "application/octet-stream",
    }

    def __init__(self, *arguments: Any, exported: Path, **options: Any) -> None:
        self._exported = exported
        super().__init__(*arguments, **options)

    def translate_path(self, path: str) -> str:
        """Find the file of a URL."""
        is_model = path.partition("?")[0] == f"/{MODEL_NAME}"
        return str(self._exported) if is_model else super().translate_path(path)

    def end_headers(self) -> None:
        """Add what gives the page threads (memory that they share), and fresh files."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing: a page has a dozen files."""


def _server(host: str, port: int, exported: Path) -> ThreadingHTTPServer:
    handler = functools.partial(PageHandler, exported=exported, directory=str(page_folder()))
    try:
        return ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        hint = "Give another one with --port, or 0 for any that is free."
        if error.errno == errno.EADDRINUSE:
            raise typer.BadParameter(f"Port {port} of {host} is in use. {hint}") from error
        raise typer.BadParameter(
            f"Nothing can be served at {host}, port {port}: {error.strerror or error}. {hint}"
        ) from error


def _export(folder: Path, model: str, stage: str, weights: Path | None) -> Path:
    from dcasenet.onnx.export import to_onnx

    loaded: Any = load_model(model, stage, weights, "cpu", Precision.float32, Runtime.torch)
    return to_onnx(loaded, folder / MODEL_NAME)
