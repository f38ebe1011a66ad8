"""What was measured, as a table for people and as a document for programs."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any


@dataclass(frozen=True)
class Spread:
    """One number measured several times."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of some measurements."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        """Median and range."""
        if self.least == self.most:
            return _short(self.median)
        return f"{_short(self.median)} ({_short(self.least)}-{_short(self.most)})"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


@dataclass(frozen=True)
class Target:
    """What was promised, and what it came to."""

    name: str
    wanted: str
    measured: str
    ok: bool
    hard: bool = False
    """Whether missing it makes the command fail: what does not depend on the machine's speed."""


@dataclass
class Table:
    """One table: a title, what it says about its units, and lines of cells."""

    title: str
    notes: list[str]
    head: list[str]
    lines: list[list[str]]

    def __str__(self) -> str:
        """Aligned columns, the first to the left."""
        rows = [self.head, *self.lines]
        widths = [max(len(row[n]) for row in rows) for n in range(len(self.head))]
        text = [self.title, *(f"  {note}" for note in self.notes), ""]
        for row in rows:
            first, *rest = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            text.append("  " + "   ".join((first.strip().ljust(widths[0]), *rest)).rstrip())
        return "\n".join(text)


@dataclass
class Report:
    """Everything one command measured."""

    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, table: Table, targets: Sequence[Target], data: Any) -> None:
        """Add what one benchmark measured."""
        self.tables.append(table)
        self.targets.extend(targets)
        self.data[name] = data

    @property
    def broken(self) -> list[Target]:
        """The missed targets that hold on any machine."""
        return [target for target in self.targets if target.hard and not target.ok]

    @property
    def missed(self) -> list[Target]:
        """All missed targets."""
        return [target for target in self.targets if not target.ok]

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"machine": machine(), **self.data, "targets": [asdict(target) for target in self.targets]}

    def __str__(self) -> str:
        """For people."""
        targets = Table(
            "Targets",
            [],
            ["what", "wanted", "measured", ""],
            [[t.name, t.wanted, t.measured, "ok" if t.ok else "MISSED"] for t in self.targets],
        )
        about = ", ".join(f"{name} {value}" for name, value in machine().items())
        return "\n\n".join([*(str(table) for table in self.tables), str(targets), about])


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("temporalio", "pydantic", "asyncpg")},
    }
