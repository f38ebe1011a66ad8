"""Values that are another one each time: clocks, chance, and what names one attempt or one run."""

from __future__ import annotations

import ast
from typing import Final

from kit.testing.gates.lint.source import Source, assigned, within

CLOCKS_AND_CHANCE: Final = frozenset(
    {
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "datetime.date.today",
        "os.getpid",
        "os.urandom",
        "time.monotonic",
        "time.monotonic_ns",
        "time.perf_counter",
        "time.time",
        "time.time_ns",
        "uuid.uuid1",
        "uuid.uuid4",
    }
)
"""Functions that answer otherwise each time they are asked."""

_CHANCE: Final = ("random.", "secrets.")

_OF_WORKFLOWS: Final = frozenset(
    {
        "temporalio.workflow.now",
        "temporalio.workflow.random",
        "temporalio.workflow.time",
        "temporalio.workflow.time_ns",
        "temporalio.workflow.uuid4",
    }
)
"""The same within one run, and other ones after a reset or in the next run."""

_OF_ONE_RUN: Final = frozenset({"activity_id", "attempt", "run_id", "task_token"})
"""Attributes of a token, of an activity's or a workflow's info."""


def is_unstable(source: Source, call: ast.Call) -> bool:
    """Whether a call answers otherwise each time."""
    name = source.meaning(call.func)
    return name in CLOCKS_AND_CHANCE or name.startswith(_CHANCE)


def unstable_part(source: Source, expression: ast.AST, function: ast.AST) -> str:
    """The first part of an expression that is another one on the next attempt or run, as it is written; else empty.

    A name is followed to the one value that the function gives it, and no further: it may be made from itself.
    """
    for node in within(expression):
        value = assigned(function, node.id) if isinstance(node, ast.Name) else None
        for part in [node] if value is None else list(within(value)):
            if _changes(source, part):
                return ast.unparse(part)
    return ""


def _changes(source: Source, node: ast.AST) -> bool:
    match node:
        case ast.Call():
            return is_unstable(source, node) or source.meaning(node.func) in _OF_WORKFLOWS
        case ast.Attribute(attr=name, value=ast.Name(id="token")):
            return name in _OF_ONE_RUN
        case ast.Attribute(attr=name, value=ast.Call(func=called)) if name in _OF_ONE_RUN:
            return source.meaning(called) in ("temporalio.workflow.info", "temporalio.activity.info")
    return False
