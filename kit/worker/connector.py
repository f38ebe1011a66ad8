"""Connectors: the classes that carry operations out against one external system."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kit.contract import Effect, OnceStrategy, Operation, Role
from kit.contract.operation import ROLE_ATTRIBUTE
from kit.errors import DefinitionError, OperationFailure

if TYPE_CHECKING:  # a connector without a database needs no SQL library
    from kit.ledger import TransactionalLedger

_PARAMETERS = {Role.ACTION: 2, Role.COMPENSATION: 2, Role.PROBE: 2}
"""How many arguments a method of each role takes besides ``self``; one more (the transaction) for BY_TRANSACTION."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """The names of the methods that serve one operation."""

    operation: Operation[Any, Any]
    methods: Mapping[Role, str]


class Connector:
    """Carries operations out against one external system.

    Subclasses mark methods with an operation's ``action``, ``compensation`` and ``probe``. The class is checked when
    it is built: what an operation's effect and once-strategy demand must be there. The guard calls the methods; they
    do the plain work and raise what their library raises.

    An instance belongs to one worker process. `open` and `close` frame the worker's life.
    """

    handlers: ClassVar[Mapping[str, Handlers]] = MappingProxyType({})
    """By operation name; filled when the class is built."""

    database: TransactionalLedger | None = None
    """The service's own database with its ledger table; needed for ``BY_TRANSACTION`` operations."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handlers = MappingProxyType(_collect(cls))
        for handlers in cls.handlers.values():
            _check(cls, handlers)

    async def open(self) -> None:
        """Connect; called before the worker takes its first task."""

    async def close(self) -> None:
        """Disconnect; called after the worker has finished its last task."""

    async def __aenter__(self) -> Self:
        """Open."""
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    def classify(self, error: Exception) -> OperationFailure | None:
        """What ``error`` means where the dependency's failure map cannot see it, such as in an error's body.

        Returns:
            The failure, or ``None`` to leave it to the failure map.
        """
        return None

    def method(self, operation: Operation[Any, Any], role: Role) -> Callable[..., Awaitable[Any]] | None:
        """The bound method of one role, if there is one."""
        name = self.handlers[operation.name].methods.get(role)
        return None if name is None else getattr(self, name)


def _collect(cls: type[Connector]) -> dict[str, Handlers]:
    found: dict[str, tuple[Operation[Any, Any], dict[Role, str]]] = {}
    for name in dir(cls):
        mark = getattr(inspect.getattr_static(cls, name), ROLE_ATTRIBUTE, None)
        if mark is None:
            continue
        role, operation = mark
        known, methods = found.setdefault(operation.name, (operation, {}))
        if known is not operation:
            raise DefinitionError(
                f"connector {cls.__name__!r}",
                rule=f"it serves two different operations named {operation.name!r}",
                fix="import the one contract everywhere",
            )
        if role in methods:
            raise DefinitionError(
                f"connector {cls.__name__!r}",
                rule=f"{methods[role]!r} and {name!r} are both the {role.value} of {operation.name!r}",
                fix="keep one",
            )
        methods[role] = name
    return {name: Handlers(operation, MappingProxyType(methods)) for name, (operation, methods) in found.items()}


def _check(cls: type[Connector], handlers: Handlers) -> None:
    operation, methods = handlers.operation, handlers.methods

    def refuse(rule: str, fix: str) -> DefinitionError:
        return DefinitionError(f"connector {cls.__name__!r}, operation {operation.name!r}", rule=rule, fix=fix)

    strategy = operation.once.strategy if operation.once else None
    if Role.ACTION not in methods:
        raise refuse("it has no action", f"mark a method with @{operation.name.rpartition('.')[2]}.action")
    if operation.effect.undoable and Role.COMPENSATION not in methods:
        raise refuse(
            f"effect {operation.effect.name} needs a compensation",
            f"mark a method with @{operation.name.rpartition('.')[2]}.compensation, "
            "or declare what the effect really is",
        )
    if not operation.effect.undoable and Role.COMPENSATION in methods:
        raise refuse(
            f"effect {operation.effect.name} has no compensation, but {methods[Role.COMPENSATION]!r} is marked as one",
            "declare the effect COMPENSATABLE or REVERSIBLE, or drop the method",
        )
    if operation.effect is Effect.RECONCILABLE and Role.PROBE not in methods:
        raise refuse(
            "effect RECONCILABLE needs a probe: its truth must be looked up",
            f"mark a method with @{operation.name.rpartition('.')[2]}.probe",
        )
    if strategy is OnceStrategy.BY_PROBE and Role.PROBE not in methods:
        raise refuse(
            "once BY_PROBE needs a probe",
            f"mark a method with @{operation.name.rpartition('.')[2]}.probe, or use Once.never_twice()",
        )
    if operation.effect is Effect.READ and Role.PROBE in methods:
        raise refuse("a READ has nothing to probe", f"drop {methods[Role.PROBE]!r}")
    if operation.result in (None, type(None)) and Role.PROBE in methods:
        raise refuse(
            "its probe can only answer None, which says that nothing happened, because its result is None",
            "give it a result, such as the provider's own id of what was done",
        )
    for role, name in methods.items():
        method = getattr(cls, name)
        if not inspect.iscoroutinefunction(method):
            raise refuse(f"its {role.value} {name!r} is not async", "write it as 'async def'")
        wanted = _PARAMETERS[role] + (strategy is OnceStrategy.BY_TRANSACTION and role is not Role.PROBE)
        given = len(inspect.signature(method).parameters) - 1
        if given != wanted:
            what = "(request, token, transaction)" if wanted > _PARAMETERS[role] else "(request, token)"
            raise refuse(f"its {role.value} {name!r} takes {given} arguments", f"give it exactly {what} besides self")
