"""Read files, ask every rule, and tell what was found."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kit.errors import DefinitionError
from kit.testing.gates.lint import connectors, keys, suppressing, workflows
from kit.testing.gates.lint.findings import Finding, Rule
from kit.testing.gates.lint.project import Project
from kit.testing.gates.lint.source import Function, Source
from kit.testing.gates.lint.suppressing import suppressed

_SUPPRESSION: Final = Rule(
    suppressing.CODE,
    "a suppression without a reason, or without use",
    suppressing.REASON,
    suppressing.FIX,
    lambda source, project: iter(()),  # found where suppressions are applied
)

RULES: Final = (_SUPPRESSION, *workflows.RULES, *keys.RULES, *connectors.RULES)
"""Every rule, by code."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        findings: By file, line and column.
        files: How many files were read for their own sake.
    """

    findings: tuple[Finding, ...]
    files: int


def lint(paths: Iterable[Path], *, root: Path) -> Report:
    """Check files and folders by every rule.

    What cannot be decided by reading the source is left alone: a finding is meant to be right. So silence proves
    nothing; that is what the sweep is for.

    Args:
        paths: Files, and folders to be searched for them.
        root: The folder from which the service's modules are imported.

    Raises:
        DefinitionError: A path does not exist, or a file is no Python.
    """
    project = Project(root)
    sources = [project.source(path) for path in _files(paths)]
    found = (finding for source in sources for finding in _of(source, project))
    return Report(tuple(sorted(found)), len(sources))


def _files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise DefinitionError(str(path), rule="there is no such file or folder to lint", fix="correct the path")
        below = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found.update(dict.fromkeys(file for file in below if not _is_hidden(file.relative_to(path))))
    return list(found)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _of(source: Source, project: Project) -> Iterator[Finding]:
    found: dict[tuple[str, int, int], Finding] = {}
    for rule in RULES:
        for node, message in rule.find(source, project):
            finding = _finding(source, rule, node, message)
            found.setdefault((rule.code, finding.line, finding.column), finding)
    yield from suppressed(source, found.values(), known=[rule.code for rule in RULES])


def _finding(source: Source, rule: Rule, node: ast.AST, message: str) -> Finding:
    line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    # A comment belongs to the head of what has a body.
    headed = isinstance(node, Function | ast.ExceptHandler)
    last = line if headed else getattr(node, "end_lineno", None) or line
    return Finding(source.path, line, column + 1, rule.code, message, rule.fix, last=last)
