"""How late a run may be without its mattering: what the memo on state needs to know of a workflow and its clock."""

from __future__ import annotations

import ast
from datetime import timedelta
from functools import cache
from typing import Final

from kit.testing.world import Subject
from kit.workflow import SagaWorkflow

_CLOCK: Final = frozenset({"now", "time", "time_ns", "start_time", "workflow_start_time"})
"""What tells workflow code the time: in `temporalio.workflow`, and in its ``info()``."""


def horizon(subject: Subject) -> timedelta | None:
    """How long a run may take without its mattering how late it is: until the first deadline of its sagas.

    Keys are remembered longer than that (`kit.workflow.definition`). ``None`` where it may matter at any time: for a
    workflow that is no saga, and for one in whose own sources, those that it imports included, the time is asked for.
    """
    return _horizon((subject.workflow, *filter(None, (subject.previous,)), *subject.others))


@cache
def _horizon(workflows: tuple[type, ...]) -> timedelta | None:
    sagas = [one for one in workflows if issubclass(one, SagaWorkflow)]
    if len(sagas) < len(workflows) or _asks_for_the_time(workflows):
        return None
    return min(saga.__saga__.deadline for saga in sagas)


def _asks_for_the_time(workflows: tuple[type, ...]) -> bool:
    from kit.testing.sweep.sources import service_sources  # noqa: PLC0415 - the sweep imports the engines

    return any(_names_the_clock(ast.parse(path.read_text(encoding="utf-8"))) for path in service_sources(*workflows))


def _names_the_clock(tree: ast.AST) -> bool:
    """Whether a source names ``workflow.now`` or the like, or imports it by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _CLOCK and _is_workflows(node.value):
            return True
        named = node.names if isinstance(node, ast.ImportFrom) and node.module == "temporalio.workflow" else ()
        if any(alias.name in _CLOCK for alias in named):
            return True
    return False


def _is_workflows(value: ast.expr) -> bool:
    """Whether an expression is the module ``workflow``, or what its ``info()`` gives."""
    if isinstance(value, ast.Call):
        value = value.func
    names = {part.attr for part in ast.walk(value) if isinstance(part, ast.Attribute)}
    names |= {part.id for part in ast.walk(value) if isinstance(part, ast.Name)}
    return bool(names & {"workflow", "info"})
