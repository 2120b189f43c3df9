"""Fetch what the page takes from others into ``web/vendor``, as ``versions.json`` there says.

Run in a checkout, with npm installed. For a newer version, change ``version``, take ``integrity``
from ``npm view PACKAGE dist.integrity``, and put the digests that this prints into the file.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "web" / "vendor"


def main() -> int:
    """Write the files; return 1 if one is not what it should be."""
    is_as_expected = True
    for package in json.loads((VENDOR / "versions.json").read_text("utf-8")):
        with tempfile.TemporaryDirectory() as folder:
            name = f"{package['name']}@{package['version']}"
            subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True)
            (archive,) = Path(folder).iterdir()
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if f"sha512-{digest}" != package["integrity"]:
                raise SystemExit(f"{name} is not what was published: sha512-{digest}.")
            with tarfile.open(archive) as files:
                for target, source in package["files"].items():
                    member = files.extractfile(f"package/{source['path']}")
                    content = member.read() if member else b""
                    is_as_expected &= write(VENDOR / target, content, source["sha256"])
    return 0 if is_as_expected else 1


def write(target: Path, content: bytes, expected: str) -> bool:
    """Write a file, compressed if its name ends so; return whether its digest is the expected."""
    is_compressed = target.suffix == ".gz"
    target.write_bytes(gzip.compress(content, 9, mtime=0) if is_compressed else content)
    digest = hashlib.sha256(content).hexdigest()
    sys.stdout.write(f"{target.name}: {target.stat().st_size:,} bytes, sha256 {digest}\n")
    return digest == expected


if __name__ == "__main__":
    sys.exit(main())
