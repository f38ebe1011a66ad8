"""How late a run may be without its mattering: what the memo on state needs to know of a workflow and its clock."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import timedelta
from functools import cache
from typing import Final

from kit.testing.world import Subject
from kit.workflow import EntityWorkflow, SagaWorkflow
from kit.workflow.approving import DEFAULT_WITHIN

_CLOCK: Final = frozenset({"now", "time", "time_ns"})
"""What tells workflow code the time, in `temporalio.workflow`."""

_CLOCKS: Final = frozenset({"start_time", "workflow_start_time", "get_running_loop", "get_event_loop"})
"""What does so whoever is asked for it: what ``info()`` gives is kept under any name, and so is a loop."""

_WORKFLOW: Final = "temporalio.workflow"


def horizon(subject: Subject) -> timedelta | None:
    """How long a run may take without its mattering how late it is: until the first deadline of its sagas.

    Keys are remembered longer than that (`kit.workflow.definition`), and an approval counts for `DEFAULT_WITHIN`.
    ``None`` where it may matter at any time: for a workflow that is no saga; for an entity that waits for missing
    versions, and passes them when that has taken too long; and for one in whose own sources, those that it imports
    included, the time is asked for.
    """
    return _horizon(_workflows(subject))


def limits_approvals(subject: Subject) -> bool:
    """Whether an approval may count for another time than `DEFAULT_WITHIN`: then it matters how old it is."""
    return _found(_workflows(subject), _limits_an_approval)


def _workflows(subject: Subject) -> tuple[type, ...]:
    return (subject.workflow, *filter(None, (subject.previous,)), *subject.others)


@cache
def _horizon(workflows: tuple[type, ...]) -> timedelta | None:
    sagas = [one for one in workflows if issubclass(one, SagaWorkflow)]
    if len(sagas) < len(workflows) or any(map(_loses_patience, sagas)) or _found(workflows, _names_the_clock):
        return None
    return min(DEFAULT_WITHIN, *(saga.__saga__.deadline for saga in sagas))


def _loses_patience(workflow: type) -> bool:
    return issubclass(workflow, EntityWorkflow) and workflow.__entity__.wait_for_missing > timedelta(0)


@cache
def _found(workflows: tuple[type, ...], names: Callable[[ast.AST, Collection[str]], bool]) -> bool:
    """Whether the workflows' sources name something.

    It is better to find too much: then states are told with the time, which is slower and no less exact.
    """
    from kit.testing.sweep.sources import service_sources  # noqa: PLC0415 - the sweep imports the engines

    for path in service_sources(*workflows):
        nodes = tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        workflow = {"workflow", *_names_of_workflow(nodes)}
        if any(names(node, workflow) for node in nodes):
            return True
    return False


def _names_of_workflow(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Under which names a source has imported the module ``temporalio.workflow``."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            package = "" if isinstance(node, ast.Import) else f"{node.module}."
            yield from (each.asname for each in node.names if each.asname and package + each.name == _WORKFLOW)


def _names_the_clock(node: ast.AST, workflow: Collection[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in _CLOCKS or (node.attr in _CLOCK and _is_workflow(node.value, workflow))
    if isinstance(node, ast.ImportFrom):
        told = _CLOCK | {"*"} if node.module == _WORKFLOW else _CLOCKS
        return any(each.name in told for each in node.names)
    return False


def _is_workflow(value: ast.expr, workflow: Collection[str]) -> bool:
    """Whether an expression is the module ``workflow``, by whatever name."""
    return (value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", None)) in workflow


def _limits_an_approval(node: ast.AST, _: Collection[str]) -> bool:
    """Whether it asks for an approval, and says, or may say, for how long it counts."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "approval":
        return False
    return any(keyword.arg in ("within", None) for keyword in node.keywords)
