"""Rules of contracts: keys that stay the same, and retries that end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from string import Formatter
from typing import Final

from kit.contract import TRANSIENT, FailureKind
from kit.contract.keys import UNSTABLE
from kit.testing.gates.lint.findings import Rule
from kit.testing.gates.lint.project import Project, declared
from kit.testing.gates.lint.source import Source, assigned, calls, keyword, methods, of_self
from kit.testing.gates.lint.stepping import Found
from kit.testing.gates.lint.unstable import unstable_part


def unstable_template(source: Source, project: Project) -> Found:
    """A key template with a part that changes."""
    for value in source.definitions.values():
        if not isinstance(value, ast.Call) or declared(source, value) is None:
            continue
        key = keyword(value, "key")
        if key is None:
            continue
        part = unstable_part(source, key, source.tree)
        if isinstance(key, ast.Constant):
            part = next((name for name in placeholders(str(key.value)) if UNSTABLE.intersection(name.split("."))), "")
        if part:
            yield key, f"the key is built from {part}, which is another one on the next attempt or run"


def placeholders(template: str) -> list[str]:
    """The names between braces; none where the template is malformed, which the operation itself refuses."""
    try:
        return [name for _, name, _, _ in Formatter().parse(template) if name]
    except ValueError:
        return []


def unstable_field(source: Source, project: Project) -> Found:
    """A request whose key is built from what changes with the run."""
    for cls in source.classes:
        if not project.is_saga(source, cls):
            continue
        for method in methods(cls):
            for call in calls(*method.body):
                for operation, request in _requests(call):
                    known = project.operation(source, operation)
                    if known is not None and known.key:
                        yield from _fields(source, method, request, known.key)


def _requests(call: ast.Call) -> Iterator[tuple[ast.expr, ast.expr]]:
    match of_self(call.func), call.args:
        case ("step" | "pivot" | "after_commit", [operation, request]):
            yield operation, request
        case ("parallel", pairs):
            yield from ((p.elts[0], p.elts[1]) for p in pairs if isinstance(p, ast.Tuple) and len(p.elts) == 2)


def _fields(source: Source, method: ast.AST, request: ast.expr, key: str) -> Found:
    if isinstance(request, ast.Name):
        request = assigned(method, request.id) or request
    if not isinstance(request, ast.Call):
        return
    names = {name.partition(".")[0] for name in placeholders(key)}
    for given in request.keywords:
        if given.arg in names and (part := unstable_part(source, given.value, method)):
            yield given.value, f"{given.arg!r} is part of the key {key!r} and comes from {part}"


def endless_retry(source: Source, project: Project) -> Found:
    """A permanent failure that is retried without end."""
    passing = {kind.name for kind in TRANSIENT}
    permanent = {kind.name for kind in FailureKind} - passing
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or not source.meaning(node.func).endswith(".Dependency"):
            continue
        rules = keyword(node, "retry")
        if not isinstance(rules, ast.Dict):
            continue
        for kind, rule in zip(rules.keys, rules.values, strict=True):
            name = kind.attr if isinstance(kind, ast.Attribute) else ""
            if name in permanent and _is_unlimited(source, rule):
                yield rule, f"failures of kind {name} do not pass by themselves, and are retried without end"


def _is_unlimited(source: Source, rule: ast.expr) -> bool:
    if not isinstance(rule, ast.Call) or not source.meaning(rule.func).endswith(".Retry"):
        return False
    for given in rule.keywords:
        if given.arg == "attempts":
            nothing = isinstance(given.value, ast.Constant) and given.value.value is None
            return nothing or source.meaning(given.value).endswith(".UNLIMITED")
    return False


RULES: Final = (
    Rule(
        "KIT101",
        "key template of unstable parts",
        "Every attempt, run or process makes a key of its own, and with it an effect of its own.",
        "build the key from business identity, such as '{order_id}' or '{workflow_id}'",
        unstable_template,
    ),
    Rule(
        "KIT102",
        "key field of unstable parts",
        "After a reset, or when the event comes again, the request has another key, and the effect happens again.",
        "take the field from the workflow's argument, or let the key be built from {workflow_id}",
        unstable_field,
    ),
    Rule(
        "KIT103",
        "permanent failure retried for ever",
        "A request that was refused is sent again until the deadline, and after the pivot for ever.",
        "give attempts= a number; what needs a person becomes a task then",
        endless_retry,
    ),
)
"""The rules of contracts."""
