"""The page that runs a model in the browser: where its files are, and how they are served."""

from __future__ import annotations

import errno
import functools
import shutil
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dcasenet
from dcasenet.errors import DcasenetError

MODEL_NAME = "model.onnx"


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


def page_server(host: str, port: int, exported: Path) -> ThreadingHTTPServer:
    """Return a server of the page, which ``serve_forever`` runs.

    Args:
        host: Address to serve at.
        port: Port to serve at; 0 takes any free one.
        exported: The ONNX file.

    Raises:
        DcasenetError: Nothing can be served there, for example since the port is in use.
    """
    handler = functools.partial(PageHandler, exported=exported, directory=str(page_folder()))
    try:
        return ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        fault = "it is in use" if in_use else error.strerror or str(error)
        raise DcasenetError(
            f"Nothing can be served at {host}, port {port}: {fault}. Give another --port, or 0 "
            "for any that is free."
        ) from error
