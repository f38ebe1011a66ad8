"""Rules of connectors: they do the plain work once, tell the truth, and leave the rest to the guard."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from kit.testing.gates.lint.findings import Rule
from kit.testing.gates.lint.project import Project
from kit.testing.gates.lint.source import Function, Source, always_raises, calls, keyword, methods, of_self, within
from kit.testing.gates.lint.stepping import Found
from kit.testing.gates.lint.unstable import unstable_part

_ROLES: Final = ("action", "compensation", "probe")

_LIBRARIES: Final = (
    *("aiohttp.", "aiosmtplib.", "asyncpg.", "botocore.", "grpc.", "httpx.", "httpx2.", "psycopg.", "psycopg2."),
    *("pymongo.", "redis.", "requests.", "smtplib.", "socket.", "sqlalchemy.", "stripe.", "urllib3."),
)
_CLIENTS: Final = ("aiohttp.", "httpx.", "httpx2.", "requests.", "aiosmtplib.", "grpc.", "stripe.")
_BROAD: Final = frozenset(
    {"Exception", "BaseException", "OSError", "IOError", "TimeoutError", "ConnectionError", "asyncio.TimeoutError"}
)
_DEFINITE: Final = re.compile(r"NotFound|NoResult|Already|Duplicate|Integrity|DoesNotExist|NoSuch|Unique")
"""Names of exceptions that are an answer."""

_LOGGERS: Final = ("log", "logger", "logging", "_log", "_logger")
_CLOSING: Final = frozenset({"quit", "close", "aclose", "disconnect", "logout", "rollback", "wait_closed"})

_KEY: Final = re.compile(r"(?i)idempot|(^|[-_\[.])key\]?$|reference|request[-_]?id$|webhook-id|message-id|dedup")
"""What the provider's own word for a key looks like."""

_RETRIERS: Final = ("tenacity.", "stamina.", "backoff.", "retrying.", "retry.")


def role_of(method: Function) -> str:
    """The role that a method is marked with; empty for none."""
    for decorator in method.decorator_list:
        if isinstance(decorator, ast.Attribute) and decorator.attr in _ROLES:
            return decorator.attr
    return ""


def marked(source: Source, project: Project, *roles: str) -> Iterator[tuple[ast.ClassDef, Function]]:
    """The methods of connectors that are marked with one of these roles, by default any."""
    for cls in source.classes:
        if project.is_connector(source, cls):
            yield from ((cls, method) for method in methods(cls) if role_of(method) in (roles or _ROLES))


# -- KIT201, KIT202 ----------------------------------------------------------------------------------------------------


def swallowed(source: Source, project: Project) -> Found:
    """A failure that becomes an answer."""
    for _, method in marked(source, project):
        for node in within(*method.body):
            match node:
                case ast.Try(body=body, handlers=handlers) if _awaits(body) and not _only_closes(body):
                    for handler in handlers:
                        if _catches_failures(source, handler) and _answers(source, project, handler):
                            caught = "anything" if handler.type is None else ast.unparse(handler.type)
                            yield handler, f"the {role_of(method)} answers after {caught}, as if nothing had happened"
                case ast.With(items=items, body=body) if _awaits(body) and not _only_closes(body):
                    for item in items:
                        if _suppresses_failures(source, item.context_expr):
                            yield item.context_expr, f"the {role_of(method)} goes on after a failure"


def _awaits(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Await | ast.AsyncWith | ast.AsyncFor) for node in within(*body))


def _only_closes(body: list[ast.stmt]) -> bool:
    """How a connection ends changes nothing about what was done on it."""
    waited = [node.value for node in within(*body) if isinstance(node, ast.Await)]
    return all(
        isinstance(w, ast.Call) and isinstance(w.func, ast.Attribute) and w.func.attr in _CLOSING for w in waited
    )


def _catches_failures(source: Source, handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(_is_failure(source.meaning(one)) for one in caught)


def _is_failure(name: str) -> bool:
    return (name in _BROAD or name.startswith(_LIBRARIES)) and not _DEFINITE.search(name)


def _suppresses_failures(source: Source, expression: ast.expr) -> bool:
    if not isinstance(expression, ast.Call) or source.meaning(expression.func) != "contextlib.suppress":
        return False
    return any(_is_failure(source.meaning(one)) for one in expression.args)


def _answers(source: Source, project: Project, handler: ast.ExceptHandler) -> bool:
    """Whether the handler never raises, looks nothing up, and either returns or does nothing but log."""
    for node in within(*handler.body):
        if isinstance(node, ast.Raise | ast.Await):
            return False
        if isinstance(node, ast.Call) and _never_returns(source, project, node):
            return False
    returns = any(isinstance(node, ast.Return) for node in within(*handler.body))
    return returns or all(_is_idle(statement) for statement in handler.body)


def _never_returns(source: Source, project: Project, call: ast.Call) -> bool:
    found = project.definition(source.meaning(call.func))
    if found is None or not isinstance(found[1], Function):
        return False
    return found[0].meaning(found[1].returns).rpartition(".")[2] in ("NoReturn", "Never")


def _is_idle(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in _LOGGERS
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
            return True
    return False


def retries_inside(source: Source, project: Project) -> Found:
    """Attempts that the guard does not know of."""
    for cls in source.classes:
        if not project.is_connector(source, cls):
            continue
        for method in methods(cls):
            for decorator in method.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if source.meaning(called).startswith(_RETRIERS):
                    yield decorator, f"{ast.unparse(called)} repeats {method.name} below the guard"
            for node in within(*method.body):
                if isinstance(node, ast.While | ast.For | ast.AsyncFor):
                    yield from _retrying(source, node)
    for call in (node for node in ast.walk(source.tree) if isinstance(node, ast.Call)):
        name = source.meaning(call.func)
        if name.startswith(("httpx.", "httpx2.")) and name.endswith("Transport"):
            count = keyword(call, "retries")
            if count is not None and not (isinstance(count, ast.Constant) and count.value == 0):
                yield call, f"{name.rpartition('.')[2]}(retries={ast.unparse(count)}) repeats requests below the guard"


def _retrying(source: Source, loop: ast.While | ast.For | ast.AsyncFor) -> Found:
    for node in within(*loop.body):
        if isinstance(node, ast.Try) and _awaits(node.body):
            for handler in node.handlers:
                if _catches_failures(source, handler) and not _leaves(handler.body):
                    yield handler, "this loop sends the request again below the guard"


def _leaves(body: list[ast.stmt]) -> bool:
    """Whether every way through a handler leaves the loop."""
    return always_raises(body) or any(isinstance(statement, ast.Return | ast.Break) for statement in body)


# -- KIT203 ------------------------------------------------------------------------------------------------------------


def unstable_key(source: Source, project: Project) -> Found:
    """A provider's key that is another one on the next attempt."""
    for cls in source.classes:
        if not project.is_connector(source, cls):
            continue
        for method in methods(cls):
            seen: set[int] = set()
            for sink, value in _keys(method):
                if id(value) not in seen and (part := unstable_part(source, value, method)):
                    seen.update(id(node) for node in ast.walk(value))
                    yield value, f"{sink} is built from {part}, which is another one on the next attempt"


def _keys(method: Function) -> Iterator[tuple[str, ast.expr]]:
    """What becomes a key of the provider, and what it is called there."""
    for node in within(*method.body):
        match node:
            case ast.Dict(keys=names, values=values):
                for name, value in zip(names, values, strict=True):
                    if isinstance(name, ast.Constant) and _KEY.search(str(name.value)):
                        yield repr(name.value), value
            case ast.Call(keywords=given):
                yield from ((f"{one.arg}=", one.value) for one in given if one.arg and _KEY.search(one.arg))
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=str(name)))], value=value):
                if _KEY.search(name):
                    yield repr(name), value
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _KEY.search(name):
                yield name, value
            case ast.JoinedStr() | ast.BinOp(op=ast.Add()) if _has_token_key(node):
                yield "what is added to the token's key", node


def _has_token_key(expression: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "key"
        and isinstance(node.value, ast.Name)
        and node.value.id == "token"
        for node in within(expression)
    )


# -- KIT204 to KIT206 --------------------------------------------------------------------------------------------------


def undo_not_repeatable(source: Source, project: Project) -> Found:
    """An undo that fails when it has been done before."""
    for _, method in marked(source, project, "compensation"):
        nodes = list(within(*method.body))
        for node in nodes:
            match node:
                case ast.Raise(exc=ast.Call(args=[kind, *_])) if source.meaning(kind).endswith("FailureKind.NOT_FOUND"):
                    yield node, "the undo fails when there is nothing left to undo"
        if _looks_at_the_answer(nodes):
            continue
        deletes = [c for c in calls(*method.body) if isinstance(c.func, ast.Attribute) and c.func.attr == "delete"]
        checked = any(isinstance(node, ast.Attribute) and node.attr == "raise_for_status" for node in nodes)
        if deletes and checked:
            yield deletes[0], "a second DELETE answers 404, so the undo fails when it has been done before"


def _looks_at_the_answer(nodes: list[ast.AST]) -> bool:
    for node in nodes:
        match node:
            case ast.ExceptHandler() | ast.Constant(value=404 | 410):
                return True
            case ast.Attribute(attr="NOT_FOUND" | "GONE" | "status_code" | "status" | "is_error"):
                return True
    return False


def probe_asks_nobody(source: Source, project: Project) -> Found:
    """A probe that knows the answer without looking."""
    for _, method in marked(source, project, "probe"):
        nodes = list(within(*method.body))
        if always_raises(method.body):
            continue  # abstract
        answers = [node.value for node in nodes if isinstance(node, ast.Return)]
        asks = _awaits(method.body) or any(of_self(node) for node in nodes)
        if not asks:
            yield method, f"the probe {method.name} asks nobody"
        elif all(answer is None or isinstance(answer, ast.Constant) for answer in answers):
            yield method, f"the probe {method.name} gives the same answer whatever it finds"


def outside_transaction(source: Source, project: Project) -> Found:
    """An effect outside the database, in the middle of its transaction."""
    for cls, method in marked(source, project, "action", "compensation"):
        if len(method.args.args) != _WITH_TRANSACTION:
            continue
        clients = _clients(source, cls)
        for call in calls(*method.body):
            target = call.func.value if isinstance(call.func, ast.Attribute) else call.func
            if of_self(target) in clients or source.meaning(call.func).startswith(_CLIENTS):
                yield call, f"{ast.unparse(call.func)}() has its effect outside the transaction"


_WITH_TRANSACTION: Final = 4
"""Parameters of a method that is given the transaction: self, request, token, transaction."""


def _clients(source: Source, cls: ast.ClassDef) -> set[str]:
    """The attributes that the constructor fills with clients of other systems."""
    found: set[str] = set()
    for method in methods(cls):
        if method.name != "__init__":
            continue
        parameters = (*method.args.args, *method.args.kwonlyargs)
        typed = {one.arg for one in parameters if source.meaning(one.annotation).startswith(_CLIENTS)}
        for node in within(*method.body):
            match node:
                case ast.Assign(targets=[target], value=ast.Name(id=name)) if name in typed:
                    found.add(of_self(target))
                case ast.Assign(targets=[target], value=ast.Call(func=called)):
                    if source.meaning(called).startswith(_CLIENTS):
                        found.add(of_self(target))
    return found - {""}


RULES: Final = (
    Rule(
        "KIT201",
        "a connector swallows a failure",
        "The guard believes what it is told: an action that answers is recorded as done, an undo as undone, "
        "a probe's None as proof that nothing happened.",
        "let the exception pass, and classify it in the failure map; answer only what the provider has said",
        swallowed,
    ),
    Rule(
        "KIT202",
        "a connector retries",
        "A second request that the guard does not know of is a second effect that nobody counts, and it outlives the "
        "attempt's lease.",
        "send it once; the dependency's retry rules decide about another attempt",
        retries_inside,
    ),
    Rule(
        "KIT203",
        "a provider's key of unstable parts",
        "The provider cannot recognise the repeated request: every attempt is a new effect.",
        "use token.key as it is",
        unstable_key,
    ),
    Rule(
        "KIT204",
        "an undo that cannot be repeated",
        "An undo whose reply was lost is asked for again; if it fails then, the run parks although all is well.",
        "take 'not found' and 'already done' for success",
        undo_not_repeatable,
    ),
    Rule(
        "KIT205",
        "a probe that asks nobody",
        "An answer that was not looked up is a lie sooner or later: the effect is repeated, or never undone.",
        "look the token's key up at the provider; without a look-up declare Once.never_twice() and drop the probe",
        probe_asks_nobody,
    ),
    Rule(
        "KIT206",
        "an outside effect in a transaction",
        "When the transaction is rolled back, the row that knew of the effect goes and the effect stays.",
        "make it an operation of its own, with a key or a probe",
        outside_transaction,
    ),
)
"""The rules of connectors."""
