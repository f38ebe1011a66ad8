"""What a saga class declares, and the rules it must keep before it may run.

Which operations a workflow uses is read from its source: every ``self.step(...)``, ``self.parallel(...)``,
``self.pivot(...)`` and ``self.after_commit(...)`` names its operation, and the names are looked up where the code would
look them up. What cannot be seen that way (an operation chosen at run time) is listed in ``uses=``.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from string import Formatter
from typing import Any, Final, get_type_hints

from pydantic import BaseModel
from temporalio import workflow

from kit.contract import Effect, OnceStrategy, Operation
from kit.contract.keys import placeholders
from kit.errors import DefinitionError
from kit.workflow.steps import Phase

VERBS: Final[Mapping[str, Phase]] = {
    "step": Phase.BODY,
    "parallel": Phase.BODY,
    "pivot": Phase.PIVOT,
    "after_commit": Phase.AFTER_COMMIT,
}
"""The saga's methods that take operations, and the phase each means (``step`` after the pivot is ``FORWARD``)."""


@dataclass(frozen=True, slots=True)
class Use:
    """One place in a workflow's source that uses an operation."""

    operation: Operation[Any, Any]
    phase: Phase
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaDefinition:
    """What a saga class declares.

    Attributes:
        name: The class.
        owner: Who is asked about its runs.
        deadline: The budget of its body.
        replay_window: How long after a run its start may come again.
        runbook: Where a person finds what to do.
        due: How long a person has to answer one of its tasks before the run tells of it again; ``None`` when nothing
            is declared.
        escalation: Who is told then.
        tenant: Template of whose run it is, over the fields of its request; empty for nobody's.
        uses: The operations it uses, in source order.
    """

    name: str
    owner: str
    deadline: timedelta
    replay_window: timedelta
    runbook: str | None = None
    due: timedelta | None = None
    escalation: str | None = None
    tenant: str = ""
    uses: tuple[Use, ...] = field(default=())

    @property
    def operations(self) -> dict[str, Operation[Any, Any]]:
        """The operations it uses, by name."""
        return {use.operation.name: use.operation for use in self.uses}

    def tenant_of(self, request: Any) -> str:
        """Whose run a request asks for; empty for nobody's, and where the request cannot be read."""
        if not isinstance(request, BaseModel):
            return ""
        return "".join(
            literal + ("" if name is None or (value := getattr(request, name, None)) is None else str(value))
            for literal, name, _, _ in Formatter().parse(self.tenant)
        )


def result_of(cls: type) -> Any:
    """The type of what a workflow class returns."""
    return get_type_hints(cls.run).get("return", Any)  # type: ignore[attr-defined] # every workflow has one


def check(definition: SagaDefinition) -> None:
    """Refuse a saga that cannot be safe.

    Raises:
        DefinitionError: With the rule and the fix.
    """

    def refuse(rule: str, fix: str) -> DefinitionError:
        return DefinitionError(f"saga {definition.name!r}", rule=rule, fix=fix)

    if not definition.owner.strip():
        raise refuse(f"owner={definition.owner!r} is empty", "name the team that is asked about its runs")
    if definition.deadline <= timedelta(0):
        raise refuse(f"deadline={definition.deadline!r} must be positive", "give the budget of its body")
    if definition.replay_window < timedelta(0):
        raise refuse(f"replay_window={definition.replay_window!r} is negative", "use timedelta(0) or more")
    if definition.due is not None and definition.due <= timedelta(0):
        raise refuse(f"due={definition.due!r} must be positive", "give how long a person has for an answer")
    passed = False
    for use in definition.uses:
        operation = use.operation
        passed = passed or use.phase is Phase.PIVOT
        if operation.effect is Effect.IRREVERSIBLE and use.phase is Phase.BODY and not passed:
            raise refuse(
                f"{operation.name!r} (line {use.line}) is IRREVERSIBLE and comes before the pivot",
                "hold it back with self.after_commit(...), make it the pivot, or move it after the pivot",
            )
        once = operation.once
        needed = definition.deadline + definition.replay_window
        if once is not None and once.strategy is OnceStrategy.BY_KEY and once.ttl is not None and once.ttl < needed:
            raise refuse(
                f"{operation.name!r} keeps its key for {once.ttl}, shorter than deadline + replay window "
                f"({definition.deadline} + {definition.replay_window})",
                "shorten deadline= or replay_window=, or declare how the operation is looked up (Once.by_probe())",
            )


def operation_named(name: str, definition: SagaDefinition) -> Operation[Any, Any] | None:
    """One of a saga's operations, or of another saga of this process: what a child has left to its parent's commit."""
    own = definition.operations.get(name)
    others = (use.operation for uses in _USES.values() for use in uses if use.operation.name == name)
    return own or next(others, None)


_USES: Final[dict[tuple[str, str], tuple[Use, ...]]] = {}
"""What the classes of this process use, by module and name. The kit is passed through the sandbox, so it is one."""


def uses_in_process(cls: type, declared: tuple[Operation[Any, Any], ...]) -> tuple[Use, ...]:
    """The operations a class uses, read when it is first built.

    The sandbox builds the class again for every run, where reading sources is neither cheap nor allowed: there it is
    what was found when the process built it.

    Raises:
        DefinitionError: As `uses_of`.
    """
    name = (cls.__module__, cls.__qualname__)
    if not workflow.unsafe.in_sandbox():
        _USES[name] = uses_of(cls, declared)
    return _USES.get(name, ())


def check_tenant(definition: SagaDefinition, run: Callable[..., Any]) -> None:
    """Refuse a tenant that the request cannot tell.

    Raises:
        DefinitionError: The template uses a field that the request of ``run`` does not have.
    """
    wanted = list(placeholders(definition.tenant))
    names = list(inspect.signature(run).parameters)[1:]
    try:
        request = get_type_hints(run).get(names[0]) if names else None
    except NameError:  # Temporal says so, with more to say about it
        return
    known = request.model_fields if isinstance(request, type) and issubclass(request, BaseModel) else {}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise DefinitionError(
            f"saga {definition.name!r}",
            rule=f"its tenant {definition.tenant!r} uses {unknown[0]!r}, which its request does not have",
            fix=f"use the fields of what run takes: {', '.join(sorted(known)) or 'none'}",
        )


def uses_of(cls: type, declared: tuple[Operation[Any, Any], ...]) -> tuple[Use, ...]:
    """The operations a class uses: found in its source, then those declared.

    Raises:
        DefinitionError: An operation cannot be seen in the source, and ``uses=`` lists none.
    """
    found: list[Use] = []
    for method in _methods(cls):
        for verb, argument, line in _calls(method):
            operation = _resolve(method, argument)
            if isinstance(operation, Operation):
                found.append(Use(operation, VERBS[verb], line))
            elif not declared:
                raise DefinitionError(
                    f"saga {cls.__name__!r}",
                    rule=f"line {line}: which operation {ast.unparse(argument)!r} is cannot be seen from the source",
                    fix="name the operation where it is used, or list what may come in uses=(...)",
                )
    seen = {use.operation.name for use in found}
    found.extend(Use(operation, Phase.FORWARD, 0) for operation in declared if operation.name not in seen)
    return tuple(found)


def _methods(cls: type) -> Iterator[Callable[..., Any]]:
    """The class's own methods and those of its bases below the kit, ``run`` first."""
    members: dict[str, Callable[..., Any]] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] in ("builtins", "typing") or base.__module__.startswith("kit.workflow."):
            continue
        for name, member in vars(base).items():
            function = inspect.unwrap(member) if callable(member) else None
            if inspect.isfunction(function):
                members[name] = function
    yield from sorted(members.values(), key=lambda method: method.__name__ != "run")


def _calls(method: Callable[..., Any]) -> Iterator[tuple[str, ast.expr, int]]:
    """Every call of a saga verb in a method: verb, operation expression, line."""
    try:
        lines, first = inspect.getsourcelines(method)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError):  # no source (an interactive session, generated code): what is used must be declared
        return
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _verb(node) is not None]
    for node in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        verb = _verb(node) or ""
        line = first + node.lineno - 1
        for argument in node.args if verb == "parallel" else node.args[:1]:
            pair = argument.value if isinstance(argument, ast.Starred) else argument
            yield verb, pair.elts[0] if isinstance(pair, ast.Tuple) and pair.elts else pair, line


def _verb(call: ast.Call) -> str | None:
    target = call.func
    on_self = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    return target.attr if on_self and isinstance(target, ast.Attribute) and target.attr in VERBS else None


def _resolve(method: Callable[..., Any], expression: ast.expr) -> Any:
    """The value of a dotted name, looked up as the method would; ``None`` when it is anything else."""
    path: list[str] = []
    while isinstance(expression, ast.Attribute):
        path.append(expression.attr)
        expression = expression.value
    if not isinstance(expression, ast.Name):
        return None
    scope = inspect.getclosurevars(method)
    value: Any = {**scope.globals, **scope.nonlocals, **getattr(method, "__globals__", {})}.get(expression.id)
    if expression.id in scope.nonlocals:
        value = scope.nonlocals[expression.id]
    for name in reversed(path):
        value = getattr(value, name, None)
    return value
