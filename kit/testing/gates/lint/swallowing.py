"""The rule of cancellation: it comes as an exception, and must reach the saga."""

from __future__ import annotations

import ast
from typing import Final

from kit.testing.gates.lint.project import Project
from kit.testing.gates.lint.source import Source, always_raises, calls, within
from kit.testing.gates.lint.stepping import Found, stepping_methods, waits, workflow_functions

_CANCELLED: Final = frozenset({"asyncio.CancelledError", "asyncio.exceptions.CancelledError"})
_EVERYTHING: Final = frozenset({"Exception", "BaseException"})


def swallowed(source: Source, project: Project) -> Found:
    """What a step raises does not reach the saga."""
    for function in workflow_functions(source, project):
        stepping = stepping_methods(source, project, function)
        for node in within(*function.body):
            match node:
                case ast.Try(body=body, handlers=handlers, finalbody=last) if _steps_in(source, body, stepping):
                    yield from _handlers(source, handlers)
                    for leaving in within(*last):
                        if isinstance(leaving, ast.Return):
                            yield leaving, "this return in `finally` swallows what the step raised, a cancellation too"
                case ast.With(items=items, body=body) if _steps_in(source, body, stepping):
                    for item in items:
                        if _suppresses_all(source, item.context_expr):
                            yield item.context_expr, "what the step raises is suppressed, a cancellation too"


def _steps_in(source: Source, body: list[ast.stmt], stepping: set[str]) -> bool:
    return any(waits(source, call, stepping) for call in calls(*body))


def _handlers(source: Source, handlers: list[ast.ExceptHandler]) -> Found:
    for handler in handlers:
        caught = [] if handler.type is None else _members(handler.type)
        names = {source.meaning(one) for one in caught}
        if handler.type is not None and not names & (_EVERYTHING | _CANCELLED):
            continue
        if not always_raises(handler.body) and not _lets_cancellation_pass(source, handler, names):
            what = "except:" if handler.type is None else f"except {ast.unparse(handler.type)}"
            yield handler, f"`{what}` round a step swallows what it raises, a cancellation too"


def _members(expression: ast.expr) -> list[ast.expr]:
    return list(expression.elts) if isinstance(expression, ast.Tuple) else [expression]


def _lets_cancellation_pass(source: Source, handler: ast.ExceptHandler, names: set[str]) -> bool:
    """``if is_cancelled_exception(error): raise`` at its beginning. Enough for ``except Exception`` only."""
    if names & _CANCELLED or "BaseException" in names or handler.type is None:
        return False
    for statement in handler.body:
        if isinstance(statement, ast.If) and always_raises(statement.body):
            asked = {source.meaning(call.func).rpartition(".")[2] for call in calls(statement.test)}
            if "is_cancelled_exception" in asked:
                return True
    return False


def _suppresses_all(source: Source, expression: ast.expr) -> bool:
    if not isinstance(expression, ast.Call) or source.meaning(expression.func) != "contextlib.suppress":
        return False
    return bool({source.meaning(one) for one in expression.args} & (_EVERYTHING | _CANCELLED))
