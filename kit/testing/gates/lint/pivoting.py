"""The rule of the pivot: what comes before it can be taken back."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kit.testing.gates.lint.project import Project
from kit.testing.gates.lint.source import Function, Source, calls, methods, of_self
from kit.testing.gates.lint.stepping import Found


def irreversible_before_pivot(source: Source, project: Project) -> Found:
    """What cannot be taken back is done while the saga may still turn round."""
    for cls in source.classes:
        if not project.is_saga(source, cls):
            continue
        for call in _before_the_pivot(cls):
            for operation in operations_of(call):
                known = project.operation(source, operation)
                if known is not None and known.effect == "IRREVERSIBLE":
                    yield operation, f"{ast.unparse(operation)} is IRREVERSIBLE and comes before the pivot"


def _before_the_pivot(cls: ast.ClassDef) -> Iterator[ast.Call]:
    """The steps that a saga takes before its pivot, in the order in which `run` comes to them through its methods."""
    own = {method.name: method for method in methods(cls)}
    begin = own.pop("run", None)
    waiting = [iter(_calls_in_order(begin))] if begin is not None else [iter(_calls_in_order(*own.values()))]
    while waiting:
        call = next(waiting[-1], None)
        if call is None:
            waiting.pop()
            continue
        verb = of_self(call.func)
        if verb == "pivot":
            return
        if verb in ("step", "parallel"):
            yield call
        elif verb in own:
            waiting.append(iter(_calls_in_order(own.pop(verb))))  # once: a method may call itself


def _calls_in_order(*functions: Function) -> list[ast.Call]:
    return [call for function in functions for call in calls(*function.body)]


def operations_of(call: ast.Call) -> Iterator[ast.expr]:
    """The operations that a call of a saga's verb names."""
    for argument in call.args if of_self(call.func) == "parallel" else call.args[:1]:
        pair = argument.value if isinstance(argument, ast.Starred) else argument
        yield pair.elts[0] if isinstance(pair, ast.Tuple) and pair.elts else pair
