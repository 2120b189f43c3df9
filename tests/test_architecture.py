"""The layout is the architecture: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dcasenet"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
NAMES = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in MODULES}


def imports(path: Path, *, anywhere: bool = True) -> set[str]:
    """Modules that a file imports; those for type checking alone do not count."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """Our modules that a file imports, as names below ``dcasenet``."""
    own = {name.removeprefix("dcasenet.") for name in imports(path) if name.startswith("dcasenet")}
    return {name for name in own if name in NAMES.values()}


def test_imports_form_no_circle() -> None:
    graph = {NAMES[path]: own_imports(path) for path in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail, module))
        if module not in done:
            for imported in sorted(graph[module]):
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", MODULES, ids=NAMES.get)
def test_nothing_imports_training_or_the_command(path: Path) -> None:
    name = NAMES[path]
    if not name.startswith(("train", "cli_train", "cli_reproduce")):
        assert not [module for module in own_imports(path) if module.startswith("train")]
    if not name.startswith(("cli", "__main__", "train")):
        assert not [module for module in own_imports(path) if module.startswith("cli")]


@pytest.mark.parametrize("path", MODULES, ids=NAMES.get)
def test_nothing_imports_torchaudio(path: Path) -> None:
    assert not [module for module in imports(path) if module.split(".")[0] == "torchaudio"]


# What the verbs need but for a runtime; a torch-free runtime stands on these.
TORCH_FREE = {
    "ahead", "headers", "longform", "reader", "road", "runtime", "samples", "split", "stream",
    "answers", "audio", "decode", "errors", "exporters", "files", "manifest", "options", "passes",
    "prepare",
    "resample", "results", "spec", "verbs", "windows", "cache", "download", "digest",
    "cli", "cli_output", "cli_weights", "cli_export", "onnx",
    "archive", "cli_archive", "ray", "reading", "workers",
    "cli_reproduce",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TORCH_FREE))
def test_the_verbs_need_no_torch(name: str) -> None:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        path = PACKAGE / f"{waiting.pop()}.py"
        top_level = imports(path, anywhere=False)
        assert not [module for module in top_level if module.split(".")[0] == "torch"], path.name
        for module in top_level:
            short = module.removeprefix("dcasenet.")
            if short in NAMES.values() and short not in reached:
                reached.add(short)
                waiting.append(short)


@pytest.mark.parametrize("path", MODULES, ids=NAMES.get)
def test_no_file_is_over_300_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 300
