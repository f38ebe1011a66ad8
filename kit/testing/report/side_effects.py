"""The side-effect map of a workflow: which effects it has, in which order, and what can be done about each.

It is read from the saga's definition (`kit.workflow.definition` finds the operations in the source) and from the
contracts, so no run is needed. The order is that of the source: in a loop or a branch a step may come more often,
later, or not at all. A clean run, where there is one, says which steps were taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow

from kit.contract import Operation, Role
from kit.errors import DefinitionError
from kit.testing.report import words
from kit.testing.runs import Run
from kit.worker import Connector
from kit.workflow import Phase, SagaDefinition, Use


@dataclass(frozen=True, slots=True)
class SideEffect:
    """One place in a workflow where an operation is used.

    Attributes:
        operation: The operation.
        phase: Where in the saga; ``None`` when it is chosen at run time, and no run says where.
        line: The line of the source; 0 when the operation is declared with ``uses=`` and chosen at run time.
        undo: The connector's method that takes it back, as ``Class.method``.
        probe: The connector's look-up, the same.
        served: Whether one of the given connectors serves it; else its undo and its look-up are not known.
        taken: Whether a clean run took it; ``None`` where that is not known.
    """

    operation: Operation[Any, Any]
    phase: Phase | None
    line: int
    undo: str | None = None
    probe: str | None = None
    served: bool = False
    taken: bool | None = None


@dataclass(frozen=True, slots=True)
class SideEffectMap:
    """What a workflow does to the world.

    Attributes:
        workflow: Its type.
        owner: Who is asked about its runs.
        deadline: The budget of its body.
        replay_window: How long after a run its start may come again.
        file: Where it is written.
        pinned: Whether its runs stay on the version that began them; ``None`` when nothing is declared.
        effects: Where it uses an operation: the body, then what comes after the commit, as the source has them.
    """

    workflow: str
    owner: str
    deadline: timedelta
    replay_window: timedelta
    file: str
    pinned: bool | None
    effects: tuple[SideEffect, ...]

    @property
    def pivot(self) -> SideEffect | None:
        """The step after which it only goes forward."""
        return next((effect for effect in self.effects if effect.phase is Phase.PIVOT), None)

    def of(self, *phases: Phase | None) -> tuple[SideEffect, ...]:
        """Those of some phases."""
        return tuple(effect for effect in self.effects if effect.phase in phases)

    @property
    def groups(self) -> tuple[tuple[SideEffect, ...], ...]:
        """All of them; those that run at once (of one ``parallel``, or held back until the commit) together."""
        groups: list[list[SideEffect]] = []
        for effect in self.effects:
            before = groups[-1][-1] if groups else None
            if before is not None and _at_once(before, effect):
                groups[-1].append(effect)
            else:
                groups.append([effect])
        return tuple(tuple(group) for group in groups)


def side_effects(
    cls: type, *, connectors: Iterable[Connector | type[Connector]] = (), clean: Run | None = None
) -> SideEffectMap:
    """The side-effect map of a saga.

    Args:
        cls: The workflow class.
        connectors: Those of its worker, or their classes: they say how an effect is undone and looked up.
        clean: A run without faults, if there is one.

    Raises:
        DefinitionError: It is no saga, so nothing says what its activities do.
    """
    saga = getattr(cls, "__saga__", None)
    if not isinstance(saga, SagaDefinition):
        raise DefinitionError(
            f"workflow {cls.__name__!r}",
            rule="it is no SagaWorkflow, so nothing says what effects its activities have",
            fix="derive it from kit.SagaWorkflow and let its steps be operations",
        )
    served = {name: connector for connector in connectors for name in connector.handlers}
    taken = {} if clean is None or clean.summary is None else {row["operation"]: row for row in clean.summary.steps}
    found = [
        SideEffect(
            operation=use.operation,
            phase=Phase(taken[use.operation.name]["phase"]) if phase is None and use.operation.name in taken else phase,
            line=use.line,
            undo=_method(served.get(use.operation.name), use.operation, Role.COMPENSATION),
            probe=_method(served.get(use.operation.name), use.operation, Role.PROBE),
            served=use.operation.name in served,
            taken=use.operation.name in taken if taken else None,
        )
        for use, phase in _phases(saga)
    ]
    return SideEffectMap(
        workflow=name_of(cls),
        owner=saga.owner,
        deadline=saga.deadline,
        replay_window=saga.replay_window,
        file=_file(cls),
        pinned=_pinned(cls),
        effects=tuple(sorted(found, key=lambda effect: effect.phase is Phase.AFTER_COMMIT)),
    )


def name_of(cls: type) -> str:
    """The workflow's type, as Temporal knows it."""
    definition = workflow._Definition.from_class(cls)
    return (definition.name if definition is not None else None) or cls.__name__


def _at_once(one: SideEffect, other: SideEffect) -> bool:
    """Whether two neighbours run at once: a ``parallel`` names all its operations in one call, on one line."""
    if one.phase is not other.phase:
        return False
    return one.phase is Phase.AFTER_COMMIT or 0 < one.line == other.line


def _phases(saga: SagaDefinition) -> Iterator[tuple[Use, Phase | None]]:
    """Each use with its phase: what follows the pivot in the source only goes forward."""
    passed = False
    for use in saga.uses:
        passed = passed or use.phase is Phase.PIVOT
        if use.line == 0:
            yield use, None
        else:
            yield use, Phase.FORWARD if passed and use.phase is Phase.BODY else use.phase


def _method(connector: Connector | type[Connector] | None, operation: Operation[Any, Any], role: Role) -> str | None:
    name = None if connector is None else connector.handlers[operation.name].methods.get(role)
    return None if connector is None or name is None else f"{_class(connector).__name__}.{name}"


def _class(connector: Connector | type[Connector]) -> type[Connector]:
    return connector if isinstance(connector, type) else type(connector)


def _file(cls: type) -> str:
    try:
        return words.place(inspect.getsourcefile(cls) or "")
    except (OSError, TypeError):  # built in an interactive session
        return ""


def _pinned(cls: type) -> bool | None:
    definition = workflow._Definition.from_class(cls)
    behavior = None if definition is None else definition.versioning_behavior
    return behavior.name == "PINNED" if behavior else None
