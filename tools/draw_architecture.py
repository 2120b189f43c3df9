"""Draw which package of dcasenet imports which: python tools/draw_architecture.py.

Reads the imports of the code, puts each package one row below the lowest one that it imports, and
writes docs/images/architecture.svg. The docs site runs it before it is built.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
ROW, BOX, LETTER, GAP = 92, 34, 9, 26  # heights of a row and a box, width of a letter, pixels
STYLE = """
  text { font: 15px ui-monospace, monospace; fill: #222; text-anchor: middle; }
  rect { fill: #e8eef7; stroke: #4573a7; rx: 6px; }
  path { fill: none; stroke: #777; stroke-width: 1.2; opacity: 0.75; marker-end: url(#end); }
"""

Graph = Mapping[str, frozenset[str]]


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module, but for what a type checker alone sees."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from runtime_nodes(child)


def package_of(module: str) -> str | None:
    """Return the package below dcasenet that a module is in; None for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "dcasenet" and len(parts) > 1 else None


def imports(package: Path) -> Graph:
    """Return package → the packages that it imports."""
    names = {p.stem for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    names = {name for name in names if not name.startswith("_")}
    found: dict[str, set[str]] = {name: set() for name in sorted(names)}
    for path in sorted(package.rglob("*.py")):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        if own not in found:
            continue
        for node in runtime_nodes(ast.parse(path.read_text("utf-8"))):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
            found[own] |= {p for m in modules if (p := package_of(m)) in names and p != own}
    return {name: frozenset(others) for name, others in found.items()}


def rows(graph: Graph) -> list[list[str]]:
    """Put each package one row below the lowest one that it imports.

    Raises:
        ValueError: Packages import each other in a circle.
    """
    level: dict[str, int] = {}
    while len(level) < len(graph):
        ready = [n for n in graph if n not in level and graph[n] <= level.keys()]
        if not ready:
            raise ValueError(f"These import each other: {', '.join(graph.keys() - level.keys())}.")
        level |= {n: 1 + max((level[other] for other in graph[n]), default=-1) for n in ready}
    return [[n for n in graph if level[n] == row] for row in range(max(level.values()) + 1)]


def shortest(graph: Graph) -> Graph:
    """Leave out an import that a longer way through other packages implies."""
    reach: dict[str, frozenset[str]] = {}
    for name in (name for row in rows(graph) for name in row):
        reach[name] = graph[name].union(*(reach[other] for other in graph[name]))
    return {
        name: frozenset(o for o in others if not any(o in reach[via] for via in others - {o}))
        for name, others in graph.items()
    }


def draw(graph: Graph) -> str:
    """Return the picture as SVG."""
    layers = rows(graph)
    widths = {name: LETTER * len(name) + 28 for name in graph}
    total = max(sum(widths[n] + GAP for n in row) for row in layers) + GAP
    place: dict[str, tuple[float, int]] = {}
    for index, row in enumerate(layers):
        x = (total - sum(widths[n] + GAP for n in row) + GAP) / 2
        for name in row:
            place[name] = (x + widths[name] / 2, 20 + ROW * index)
            x += widths[name] + GAP
    height = 40 + ROW * (len(layers) - 1) + BOX
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total:.0f} {height}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" '
        'style="fill:#777;stroke:none;marker-end:none"/></marker></defs>',
        f'<rect width="{total:.0f}" height="{height}" style="fill:#fff;stroke:none"/>',
    ]
    for name, others in shortest(graph).items():
        for other in sorted(others):
            (x0, y0), (x1, y1) = place[name], place[other]
            bottom, middle = y1 + BOX, (y0 + y1 + BOX) / 2
            curve = f"M{x0:.0f},{y0} C{x0:.0f},{middle:.0f} {x1:.0f},{middle:.0f} {x1:.0f},{bottom}"
            lines.append(f'<path d="{curve}"/>')
    for name, (x, y) in place.items():
        lines.append(
            f'<rect x="{x - widths[name] / 2:.0f}" y="{y}" width="{widths[name]}" height="{BOX}"/>'
            f'<text x="{x:.0f}" y="{y + 22}">{escape(name)}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def on_pre_build(config: Any) -> None:
    """Draw the picture before the docs site is built (a hook of MkDocs)."""
    picture = draw(imports(ROOT / "dcasenet"))
    if not PICTURE.exists() or PICTURE.read_text("utf-8") != picture:
        PICTURE.write_text(picture, "utf-8")


if __name__ == "__main__":
    on_pre_build(None)
