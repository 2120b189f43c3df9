"""What the paper published, to be held beside what is measured here.

Source: Jung et al., "DcaseNet", arXiv:2009.09642, Tables 2 and 3: percent, and error rates. Each
figure is the best of 160 epochs on the very recordings that are reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcasenet.errors import DcasenetError
from dcasenet.spec import TASKS, Task

# Task → the paper's figures of it, as `dcasenet.train.paper.protocol` names them.
FIGURES: Mapping[Task, tuple[str, ...]] = {
    "scene": ("accuracy",),
    "tag": ("lwlrap",),
    "event": ("paper_f1", "paper_error_rate"),
}
WITHOUT_MIXUP = "-nomix"  # ends the name of a variant that was trained without mix-up
# A training → accuracy, lwlrap, F1 and error rate, those of the tasks that it has.
Published = dict[str, tuple[float, ...]]

# Table 2: every task trained alone. Print blurs a digit of two figures: of 68.19 (v1's accuracy)
# the test set's 2,968 clips allow no other reading; 69.19 (v2's lwlrap) is the likelier one.
TABLE_2: dict[str, Published] = {
    "v1-nomix": {"single": (67.68, 68.01, 74.80, 0.3486)},
    "v1": {"single": (68.19, 69.41, 79.62, 0.2926)},
    "v2": {"single": (69.54, 69.19, 79.34, 0.3085)},
    "v3": {"single": (68.33, 70.62, 78.61, 0.3085)},
}
# Table 3: two or three tasks trained together, then fine-tuned for each.
TABLE_3: dict[str, Published] = {
    "v1-nomix:scene+tag": {"joint": (59.23, 53.55), "fine-tuned": (67.18, 68.81)},
    "v1-nomix:scene+event": {
        "joint": (57.04, 64.75, 0.4939),
        "fine-tuned": (66.84, 75.86, 0.3365),
    },
    "v1-nomix:tag+event": {
        "joint": (71.91, 74.66, 0.3597),
        "fine-tuned": (73.39, 77.80, 0.3153),
    },
    "v1-nomix:scene+tag+event": {
        "joint": (56.13, 59.25, 59.82, 0.5367),
        "fine-tuned": (67.08, 71.80, 75.71, 0.3470),
    },
    "v1:scene+tag": {"joint": (55.19, 59.53), "fine-tuned": (67.08, 70.56)},
    "v1:scene+event": {"joint": (60.27, 63.42, 0.5097), "fine-tuned": (68.73, 78.31, 0.3079)},
    "v1:tag+event": {"joint": (75.18, 75.27, 0.3645), "fine-tuned": (74.83, 78.93, 0.2963)},
    "v1:scene+tag+event": {
        "joint": (57.01, 65.22, 66.99, 0.4764),
        "fine-tuned": (68.59, 71.64, 78.06, 0.3238),
    },
    "v2:scene+tag": {"joint": (58.92, 60.00), "fine-tuned": (69.87, 69.68)},
    "v2:scene+event": {"joint": (58.79, 69.53, 0.4416), "fine-tuned": (69.07, 78.98, 0.3058)},
    "v2:tag+event": {"joint": (74.54, 76.46, 0.3571), "fine-tuned": (74.76, 81.32, 0.2826)},
    "v2:scene+tag+event": {
        "joint": (59.80, 62.94, 66.67, 0.4817),
        "fine-tuned": (69.57, 71.38, 79.26, 0.2968),
    },
    "v3:scene+tag": {"joint": (61.08, 65.03), "fine-tuned": (70.35, 71.42)},
    "v3:scene+event": {"joint": (59.70, 75.62, 0.3512), "fine-tuned": (69.44, 79.61, 0.2948)},
    "v3:tag+event": {"joint": (76.23, 77.93, 0.3232), "fine-tuned": (75.99, 79.28, 0.2958)},
    "v3:scene+tag+event": {
        "joint": (56.80, 70.40, 75.19, 0.3586),
        "fine-tuned": (69.37, 74.59, 78.80, 0.3185),
    },
}
TABLES = {2: TABLE_2, 3: TABLE_3}
RELEASED = "v3:scene+tag+event"  # the row of Table 3 whose six checkpoints were released


@dataclass(frozen=True)
class Row:
    """One row of Table 2 or 3.

    Attributes:
        table: 2 or 3.
        name: What it is called here: architecture, ``-nomix`` without mix-up, tasks in Table 3.
    """

    table: int
    name: str

    @property
    def variant(self) -> str:
        """Architecture, and ``-nomix`` without mix-up."""
        return self.name.partition(":")[0]

    @property
    def architecture(self) -> str:
        """``"v1"``, ``"v2"`` or ``"v3"``."""
        return self.variant.removesuffix(WITHOUT_MIXUP)

    @property
    def mixup(self) -> bool:
        """Whether it was trained with mix-up."""
        return not self.variant.endswith(WITHOUT_MIXUP)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks that it has figures of."""
        named = self.name.partition(":")[2].split("+")
        return tuple(task for task in TASKS if self.table == 2 or task in named)

    def published(self, training: str) -> dict[tuple[Task, str], float]:
        """Return the paper's figures of a training: (task, figure) → percent or error rate.

        Args:
            training: ``"single"`` (Table 2), ``"joint"`` or ``"fine-tuned"`` (Table 3).

        Example:
            >>> Row(3, "v3:scene+tag").published("joint")
            {('scene', 'accuracy'): 61.08, ('tag', 'lwlrap'): 65.03}
        """
        names = [(task, figure) for task in self.tasks for figure in FIGURES[task]]
        return dict(zip(names, TABLES[self.table][self.name][training], strict=True))


def rows(table: int, names: Sequence[str] = ()) -> list[Row]:
    """Return rows of a table.

    Args:
        table: 2 or 3.
        names: Rows by name, or by how the name begins, such as ``"v2"``; by default every one.

    Raises:
        DcasenetError: There is no such table or row.

    Example:
        >>> [row.name for row in rows(2, ["v1"])]
        ['v1']
    """
    if table not in TABLES:
        raise DcasenetError(f"There is no table {table} to reproduce; give 2 or 3.")
    known = TABLES[table]
    for name in names:
        if not any(name in (row, row.partition(":")[0]) for row in known):
            raise DcasenetError(
                f"Table {table} has no row {name!r}; give any of {', '.join(known)}"
                + (", or all of an architecture, such as v3." if table == 3 else ".")
            )
    return [
        Row(table, row)
        for row in known
        if not names or row in names or row.partition(":")[0] in names
    ]
