"""The layout is the architecture: which package may import which."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground up: each may import those before it and itself, never those after it.
ORDER = (
    ("text", "errors", "cpus", "atomic", "labels", "recordings", "spec", "types", "results"),
    ("audio",),
    ("annotations",),
    ("models",),
    ("weights",),
    ("inference",),
    ("onnx",),
    ("loading",),
    ("batch", "live", "train"),
    ("plot", "sklearn", "hear", "xares"),
    ("report",),
    ("verify",),
    ("cli",),
)
# The same within `train`; the packages of one line never import each other.
ORDER_OF_TRAINING = (
    ("data", "metrics"),
    ("engine",),
    ("finetuning", "distillation", "paper"),
)
# What runs without torch, by an exported file: all of these packages, and `dcasenet.onnx.load`.
TORCH_FREE = ("types", "results", "audio", "batch", "live", "cli")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(path): path
    for package in ("dcasenet", "recipes")
    for path in sorted((ROOT / package).rglob("*.py"))
}
OUTSIDE = ("dcasenet", "dcasenet.__main__", "dcasenet.train")  # they only name public things


def nodes(path: Path, *, inside_functions: bool) -> Iterator[ast.AST]:
    """The nodes of a file, but for what a type checker alone sees."""
    waiting: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


def imported(path: Path, *, inside_functions: bool = True) -> set[str]:
    """Modules that a file imports, ours and others'."""
    found: set[str] = set()
    for node in nodes(path, inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in modules if name in FILES} or {node.module or ""}
    return found


def own_imports(name: str, *, inside_functions: bool = True) -> set[str]:
    found = imported(FILES[name], inside_functions=inside_functions)
    return {module for module in found if module in FILES}


def floors(order: tuple[tuple[str, ...], ...]) -> dict[str, int]:
    return {package: floor for floor, line in enumerate(order) for package in line}


def package_of(name: str, prefix: str = "dcasenet.") -> str:
    return name.removeprefix(prefix).partition(".")[0] if name.startswith(prefix) else ""


def test_every_package_has_its_place() -> None:
    modules = [name for name in FILES if name not in OUTSIDE]
    of_package = {package_of(name) for name in modules} - {""}
    assert of_package == set(floors(ORDER))
    assert {package_of(name, "dcasenet.train.") for name in modules} - {""} == set(
        floors(ORDER_OF_TRAINING)
    )


@pytest.mark.parametrize(
    ("prefix", "order"), [("dcasenet.", ORDER), ("dcasenet.train.", ORDER_OF_TRAINING)]
)
def test_packages_import_only_those_before_them(
    prefix: str, order: tuple[tuple[str, ...], ...]
) -> None:
    floor = floors(order)
    broken = []
    for name in FILES:
        own = package_of(name, prefix)
        if not own or name in OUTSIDE:
            continue
        for module in own_imports(name):
            other = package_of(module, prefix)
            shared = floor.get(other, -1) == 0 and floor[own] == 0
            if other and other != own and not shared and floor[other] >= floor[own]:
                broken.append(f"{name} imports {module}")
    assert not broken


def test_nothing_imports_a_recipe() -> None:
    own = [name for name in FILES if name.startswith("dcasenet")]
    assert not [
        (name, module)
        for name in own
        for module in imported(FILES[name])
        if module.partition(".")[0] == "recipes"
    ]


def test_training_is_imported_when_it_is_used() -> None:
    outside = [name for name in FILES if name.startswith("dcasenet")]
    outside = [name for name in outside if not name.startswith("dcasenet.train")]
    assert not [
        (name, module)
        for name in outside
        for module in own_imports(name, inside_functions=False)
        if module.startswith("dcasenet.train")
    ]


def test_imports_form_no_circle() -> None:
    graph = {name: own_imports(name, inside_functions=False) for name in FILES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail, module))
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_inference_jobs_and_commands_import_no_torch() -> None:
    modules = [name for name in FILES if package_of(name) in TORCH_FREE] + ["dcasenet.onnx"]
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_nothing_imports_torchaudio() -> None:
    heads = {name: {m.partition(".")[0] for m in imported(path)} for name, path in FILES.items()}
    assert not [name for name, found in heads.items() if "torchaudio" in found]


# Words that say nothing to a newcomer, as names of what the package defines; the field has its own.
STRANGE = (
    *("hear", "hears", "heard", "ask", "asks", "asked", "question", "questions", "verdict"),
    *("judge", "judged", "examine", "examination", "passage", "splitter", "joiner", "facts"),
    *("incoming", "prepared", "twin", "twins", "material", "origin", "licence", "licences"),
    *("said", "unheard", "listed", "examinations", "origins"),
    *("listen", "listens", "listened", "listening"),
)
# The HEAR benchmark: the module that has its interface, the class, and their tests; the command.
KNOWN_WORDS = {"dcasenet.hear", "HearModel", "tests.test_hear", "dcasenet.cli.listen"}
# Code neither hears nor listens: such words in prose, where they are no name in a code span.
OF_PEOPLE = re.compile(r"\b(?:hears?|heard|listen(?:s|ed|ing)?|verdicts?)\b")
CODE = re.compile(
    r"```.*?```|``.*?``|`.*?`|^(?: {4}|>>>|:::).*?$|\(\S*\)", re.DOTALL | re.MULTILINE
)
# How a docstring begins, or describes an attribute, that says less than the signature.
EMPTY = re.compile(r"\A(?:Give|Tell|Say)s? |: (?:As given|It is)\.$", re.MULTILINE)


def words_of(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def defined(tree: ast.AST) -> Iterator[str]:
    """Names of functions, classes and their arguments, and of what is assigned."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_names_are_words_of_the_field() -> None:
    folders = ("dcasenet", "recipes", "tests", "benchmarks", "examples", "tools")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    strange = {
        (module, name)
        for path in files
        for module in (module_name(path),)
        for name in (path.stem, *defined(ast.parse(path.read_text("utf-8"))))
        if words_of(name) & {*STRANGE} and not KNOWN_WORDS & {module, name}
    }
    assert not strange


def test_docstrings_say_what_is_returned() -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    empty = [
        f"{module}: {text.splitlines()[0]}"
        for module, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, documented) and (text := ast.get_docstring(node) or "")
        if EMPTY.search(text)
    ]
    assert not empty


def test_prose_speaks_of_code_in_words_of_the_field() -> None:
    pages = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
    prose = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in pages}
    for module, path in FILES.items():
        if module.startswith("dcasenet"):
            nodes_of = ast.walk(ast.parse(path.read_text("utf-8")))
            documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            texts = [ast.get_docstring(n) or "" for n in nodes_of if isinstance(n, documented)]
            prose[module] = "\n\n".join(texts)
    found = {name: OF_PEOPLE.findall(CODE.sub("", text)) for name, text in prose.items()}
    assert not {name: words for name, words in found.items() if words}


def test_only_what_users_have_is_cited() -> None:
    """Notes that were at hand when the code was written are not in the repository."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    if not tracked[0]:
        pytest.skip("not a git checkout")
    notes = re.compile(r"\b(?:reference|layout|style)\.md\b")
    texts = [ROOT / name for name in tracked if name.endswith((".py", ".md", ".toml", ".js"))]
    citing = [
        str(path.relative_to(ROOT))
        for path in texts
        if path.is_file() and path != Path(__file__) and notes.search(path.read_text("utf-8"))
    ]
    assert not citing
