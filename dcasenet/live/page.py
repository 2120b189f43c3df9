"""Write or serve the page that runs a model in the browser."""

from __future__ import annotations

import errno
import io
import os
import shutil
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import dcasenet
from dcasenet.atomic import write_bytes
from dcasenet.errors import DcasenetError

MODEL_NAME = "model.onnx"


def page_folder() -> Path:
    """Return the folder of the page: inside the installed package, or beside it in a checkout.

    Raises:
        DcasenetError: The folder is in neither place.
    """
    package = Path(dcasenet.__file__).parent
    for folder in (package / "web", package.parent / "web"):
        if (folder / "index.html").is_file():
            return folder
    raise DcasenetError(
        "The files of the page are missing from this installation. Install the package again: "
        "pip install --force-reinstall dcasenet"
    )


def write_page(model: bytes, folder: Path, *, overwrite: bool = False) -> None:
    """Write the page and its model into a folder.

    Args:
        model: Content of the ONNX file.
        folder: A new or empty folder.
        overwrite: Whether the folder may contain files; those of the same names are replaced.

    Raises:
        DcasenetError: The folder is not empty, or is a file.
        OSError: The folder cannot be written.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise DcasenetError(f"{folder} is not a folder. Give --output a folder, or a new name.")
    if folder.exists() and not overwrite and any(folder.iterdir()):
        raise DcasenetError(
            f"{folder} is not empty. Give --output an empty folder, or --overwrite to replace "
            "files of the same names."
        )
    shutil.copytree(page_folder(), folder, dirs_exist_ok=True)
    write_bytes(folder / MODEL_NAME, model)


class PageHandler(SimpleHTTPRequestHandler):
    """Serve the page's files and the model.

    Args:
        model: Content of the ONNX file.
    """

    # Fixed, since the system's own table may have a wrong type for .js.
    extensions_map = {  # noqa: RUF012 - as in the base class
        ".css": "text/css",
        ".html": "text/html",
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        "": "application/octet-stream",
    }

    def __init__(self, *arguments: Any, model: bytes, **options: Any) -> None:
        self._model = model
        super().__init__(*arguments, **options)

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Send the headers of a file, and return its content."""
        if self.path.partition("?")[0] != f"/{MODEL_NAME}":
            return super().send_head()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self.extensions_map[""])
        self.send_header("Content-Length", str(len(self._model)))
        self.end_headers()
        return io.BytesIO(self._model)

    def end_headers(self) -> None:
        """Add headers that allow threads (shared memory) in the page and disable caching."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Do not log requests: the page has a dozen files."""


def page_server(
    host: str, port: int, model: bytes, folder: Path | None = None
) -> ThreadingHTTPServer:
    """Return a server of the page; call its ``serve_forever``.

    Args:
        host: Address to serve at.
        port: Port to serve at; 0 for any free one.
        model: Content of the ONNX file.
        folder: Folder of the page; by default that of this installation.

    Raises:
        DcasenetError: The address cannot be used, for example since the port is in use.
    """
    handler = partial(PageHandler, model=model, directory=str(folder or page_folder()))
    try:
        return ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        fault = "it is in use" if in_use else error.strerror or str(error)
        raise DcasenetError(
            f"The page cannot be served at {host}, port {port}: {fault}. Give another --port, or "
            "0 for any free one."
        ) from error
