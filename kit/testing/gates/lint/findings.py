"""What `kit lint` says: rules, and where they are broken."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kit.testing.gates.lint.project import Project
    from kit.testing.gates.lint.source import Source

Find = Callable[["Source", "Project"], "Iterator[tuple[ast.AST, str]]"]
"""Looks for breaches of one rule in one file: yields where, and what is said there."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        code: Never changes once released.
        name: In words that can be searched for.
        reason: Why it matters: what happens when it is broken.
        fix: What to write instead.
        find: Finds the breaches.
    """

    code: str
    name: str
    reason: str
    fix: str
    find: Find = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One breach of a rule.

    Attributes:
        path: The file.
        line: From 1.
        column: From 1.
        code: The rule's.
        message: What is wrong here.
        fix: What to do.
        last: The last line on which a comment can suppress it.
    """

    path: Path
    line: int
    column: int
    code: str
    message: str
    fix: str
    last: int = field(compare=False)

    def plain(self) -> dict[str, str | int]:
        """The finding as JSON values."""
        return {
            "code": self.code,
            "path": str(self.path),
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "fix": self.fix,
        }
