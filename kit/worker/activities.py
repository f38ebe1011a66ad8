"""From connectors to Temporal activities: two per operation, one for the decisions of people, one for unwinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from inspect import Parameter, Signature
from typing import Any, Final

import structlog
from temporalio import activity

from kit.contract import Operation, Token, UndoRequest
from kit.ledger.holds import HoldStore
from kit.ledger.protocol import Ledger
from kit.telemetry import CORRELATION_ID
from kit.worker.attempt import Attempt
from kit.worker.connector import Connector
from kit.worker.effects import Remains, cut_off
from kit.worker.guard import Guard
from kit.worker.looking import looking
from kit.worker.replaying import replay_activity
from kit.worker.tasks import deciding
from kit.workflow import RECORD_ACTIVITY, DecisionRecord, Done, UndoEnded
from kit.workflow.sweeping import FIND_ACTIVITY, CutOff, FindCutOff
from kit.workflow.unwound import LIST_ACTIVITY, Effects, EffectsOf

Served = dict[str, tuple[Operation[Any, Any], Connector]]
"""The connector that serves each operation, by the operation's name."""


def activities_of(guard: Guard, served: Served, *, holds: HoldStore | None = None) -> list[Callable[..., Any]]:
    """The activities of a worker: every operation's action, the undo of each that has one, and the kit's own."""
    found: list[Callable[..., Any]] = []
    for operation, connector in served.values():
        found.append(_action(guard, operation, connector))
        if operation.has_undo:
            found.append(_undo(guard, operation, connector))
    if found:
        ledgers = _ledgers(guard, served)
        found += [_record(guard, served), *_unwinding(ledgers, served), *looking(ledgers, holds), *deciding()]
        found.append(replay_activity(ledgers, retention=guard.retention))
    return found


def _ledgers(guard: Guard, served: Served) -> list[Ledger]:
    """Where the effects of a worker have their rows: the service's ledger, and those in its own databases."""
    databases = {id(found): found for _, connector in served.values() if (found := connector.database) is not None}
    return [guard.ledger, *databases.values()]


def _action(guard: Guard, operation: Operation[Any, Any], connector: Connector) -> Callable[..., Any]:
    done = _done(operation)

    async def act(request: Any, token: Token) -> Any:
        attempt = _begin(token)
        result = await guard.act(connector, operation, request, token, attempt)
        return done(result=result, attempts=attempt.number, source=attempt.source, held=attempt.held)

    return _named(act, operation.name, [operation.request, Token], done)


def _undo(guard: Guard, operation: Operation[Any, Any], connector: Connector) -> Callable[..., Any]:
    async def undo(request: Any, token: Token) -> UndoEnded:
        attempt = _begin(token)
        if request.keeps:
            happened, result = await guard.settle(connector, operation, request, token, attempt)
            return UndoEnded(happened=happened, attempts=attempt.number, result=result)
        happened = await guard.undo(connector, operation, request, token, attempt)
        return UndoEnded(happened=happened, attempts=attempt.number)

    return _named(undo, operation.undo_name, [_asked(operation), Token], UndoEnded)


def _record(guard: Guard, served: Served) -> Callable[..., Any]:
    async def record(request: DecisionRecord, token: Token) -> None:
        operation, connector = served[request.operation]
        await guard.record_decision(connector, operation, request, token, _begin(token))

    return _named(record, RECORD_ACTIVITY, [DecisionRecord, Token], type(None))


def _unwinding(ledgers: Sequence[Ledger], served: Served) -> list[Callable[..., Any]]:
    remains = Remains(ledgers, served)

    @activity.defn(name=LIST_ACTIVITY)
    async def list_effects(asks: list[EffectsOf]) -> list[Effects]:
        return await remains.of(activity.client(), asks, task_queue=activity.info().task_queue)

    @activity.defn(name=FIND_ACTIVITY)
    async def find_cut_off(asked: FindCutOff) -> list[CutOff]:
        return await cut_off(activity.client(), asked, task_queue=activity.info().task_queue)

    return [list_effects, find_cut_off]


def _begin(token: Token) -> Attempt:
    """The attempt that is running in this task. From here on every log line of the task carries its correlation id.

    Nothing unbinds it: the task is the attempt's own, and what the SDK says of its end belongs to it, too.
    """
    structlog.contextvars.bind_contextvars(**{CORRELATION_ID: token.correlation_id})
    return Attempt.current(step=token.step)


@lru_cache(maxsize=256)
def _done(operation: Operation[Any, Any]) -> Any:
    """The type of a result's envelope, made once: pydantic forgets it with the last worker that uses it."""
    return Done[operation.result]  # type: ignore[name-defined] # a type made at run time


@lru_cache(maxsize=256)
def _asked(operation: Operation[Any, Any]) -> Any:
    """The type of an undo's argument, made once as well."""
    return UndoRequest[operation.request, operation.result]  # type: ignore[name-defined] # made at run time


_SIGNATURE: Final = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("request", "token")])
"""Of every activity; what the types are, its annotations say."""


def _named(function: Callable[..., Any], name: str, arguments: Iterable[Any], result: Any) -> Callable[..., Any]:
    """An activity whose types Temporal can read: they are known only now."""
    function.__annotations__ = {**dict(zip(("request", "token"), arguments, strict=True)), "return": result}
    function.__signature__ = _SIGNATURE  # type: ignore[attr-defined] # what inspect would find, and need not seek again
    function.__qualname__ = name
    return activity.defn(name=name)(function)
