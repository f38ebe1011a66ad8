"""Workflow code, and where in it a step is taken."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from kit.testing.gates.lint.project import Project
from kit.testing.gates.lint.source import Function, Source, calls, methods, of_self

Found = Iterator[tuple[ast.AST, str]]

"""Where a rule is broken, and what is said there."""

ACTIVITIES: Final = frozenset(
    f"temporalio.workflow.{verb}_{kind}"
    for verb in ("execute", "start")
    for kind in (
        "activity",
        "activity_class",
        "activity_method",
        "local_activity",
        "local_activity_class",
        "local_activity_method",
    )
)
CHILDREN: Final = frozenset({"temporalio.workflow.execute_child_workflow", "temporalio.workflow.start_child_workflow"})


def workflow_functions(source: Source, project: Project) -> list[Function]:
    """What runs as workflow code: the methods of workflows, and the functions of the file that they call."""
    found = [m for cls in source.classes if project.is_workflow(source, cls) for m in methods(cls)]
    for function in found:  # grows while it is walked
        for call in calls(*function.body):
            called = source.definitions.get(call.func.id) if isinstance(call.func, ast.Name) else None
            if isinstance(called, Function) and called not in found:
                found.append(called)
    return found


def stepping_methods(source: Source, project: Project, function: ast.AST) -> set[str]:
    """The names of the methods, in the class around a function, that take a step, by themselves or by another."""
    cls = next((one for one in source.ancestors(function) if isinstance(one, ast.ClassDef)), None)
    if cls is None or not project.is_workflow(source, cls):
        return set()
    found: set[str] = {"step", "parallel", "pivot"} if project.is_saga(source, cls) else set()
    own = {method.name: method for method in methods(cls)}
    while True:
        more = {
            name
            for name, method in own.items()
            if name not in found and any(waits(source, call, found) for call in calls(*method.body))
        }
        if not more:
            return found
        found |= more


def waits(source: Source, call: ast.Call, stepping: set[str]) -> bool:
    """Whether a call is a step, or waits for one."""
    return of_self(call.func) in stepping or source.meaning(call.func) in ACTIVITIES | CHILDREN
