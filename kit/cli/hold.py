"""``kit hold``: stop what should not happen now, and let it go on."""

from __future__ import annotations

import getpass
import json as documents
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Final

from cyclopts import App, Parameter
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.service import RPCError

from kit.cli.discovery import find_connectors, find_optional, find_workflows, operating
from kit.contract import Effect, Hold, HoldGate, HoldScope, Operation
from kit.errors import DefinitionError
from kit.ledger import Switch
from kit.operate.holds import Stopping, hold_off, hold_on, name_of, stopping, store_of
from kit.workflow import SagaWorkflow

hold = App(name="hold", help="Stop a workflow type, an operation, a dependency, a tenant or a kind of effect.")

Flag = Parameter(negative="")

_COUNTED_WITHIN: Final = timedelta(seconds=2)
"""How long the open runs may take to be counted: an emergency does not wait for a number."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LENGTH: Final = re.compile(r"(\d+)([smhd])")


@hold.command(name="on")
async def switch_on(
    scope: HoldScope,
    name: str,
    /,
    *,
    reason: str,
    who: str | None = None,
    until: str | None = None,
    gate: Annotated[tuple[HoldGate, ...], Flag] = (),
    accept: Annotated[bool, Flag] = False,
    undo: Annotated[bool, Flag] = False,
    yes: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Switch a hold on, or change the terms of one that is on. Without ``--yes`` only says what it would stop.

    Steps that are stopped wait, lose no attempt, and go on when the hold is lifted. What is at work is not called back.

    Args:
        scope: What it is on.
        name: Which one: a workflow type, an operation, a dependency, a tenant, or an effect such as irreversible.
        reason: Why; everybody who meets the hold reads it.
        who: Who switches it; by default the user of this computer.
        until: When it ends by itself: a time as in 2026-01-31T00:00:00Z, or a length as in 90m, 2h, 1d.
        gate: Where it stops: start (new runs), execute (every effect), after-commit (what was held back until success).
            By default start and execute for a workflow or a tenant, and execute for the rest.
        accept: Accept new runs and let them wait, instead of refusing them.
        undo: Stop undos, too. Without it everything can still be taken back.
        yes: Do it.
        json: Print one JSON document.
    """
    _require_known(scope, name)
    made = _hold(scope, name, reason=reason, who=who, until=until, gates=frozenset(gate), accepts=accept, undo=undo)
    async with operating() as service:
        found = stopping(made, find_workflows())
        open_runs = {one.workflow_type: await _open_runs(service.client, one.workflow_type) for one in found}
        if yes:
            await hold_on(store_of(service), made)
    if json:
        stops = [{**_plain_stopping(one), "open_runs": open_runs[one.workflow_type]} for one in found]
        print(documents.dumps({"switched": yes, "hold": _plain(made), "stops": stops}, indent=2))
        return 0
    print(_told(made))
    for one in found:
        print(f"  {_told_stopping(one, open_runs[one.workflow_type])}")
    if not found:
        print("  no workflow of this service is concerned")
    print("Switched on; workers know within seconds." if yes else "Nothing is switched. Add --yes to do it.")
    return 0


@hold.command(name="off")
async def switch_off(
    scope: HoldScope,
    name: str,
    /,
    *,
    reason: str,
    who: str | None = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Switch a hold off. What has waited goes on within seconds. The exit code is 1 when none was on.

    Args:
        scope: What it is on.
        name: Which one.
        reason: Why it may go on; kept in the history.
        who: Who switches it; by default the user of this computer.
        json: Print one JSON document.
    """
    async with operating() as service:
        lifted = await hold_off(store_of(service), scope, name, who=who or getpass.getuser(), reason=reason)
    if json:
        print(documents.dumps({"switched": lifted is not None, "hold": lifted and _plain(lifted)}, indent=2))
    elif lifted is None:
        print(f"No hold is on {scope.value} {name!r}.")
    else:
        print(f"Switched off: {lifted}. What has waited goes on within seconds.")
    return 0 if lifted is not None else 1


@hold.command(name="list")
async def list_holds(*, history: Annotated[bool, Flag] = False, json: Annotated[bool, Flag] = False) -> int:
    """List the holds that are on.

    Args:
        history: List the last switches instead: who switched what on and off, and why.
        json: Print one JSON document.
    """
    async with operating() as service:
        store = store_of(service)
        now = datetime.now(UTC)
        active = [one for one in await store.active() if not one.over(now)]
        switches = await store.history() if history else []
    if json:
        found = [_plain_switch(one) for one in switches] if history else [_plain(one) for one in active]
        print(documents.dumps(found, indent=2))
        return 0
    for switch in switches:
        turned = "on " if switch.on else "off"
        print(f"{_time(switch.at)}  {turned}  {switch.scope.value} {switch.name}  by {switch.who}: {switch.reason}")
    if history:
        return 0
    for one in active:
        print(f"{_time(one.since)}  {_told(one)}")
    if not active:
        print("No hold is on.")
    return 0


# -- what is asked -------------------------------------------------------------------------------------------------


def _require_known(scope: HoldScope, name: str) -> None:
    """A hold on a name with a typo would stop nothing, and nobody would know.

    Raises:
        DefinitionError: The service has no such thing, with what it has.
    """
    sagas = [cls for cls in find_workflows() if issubclass(cls, SagaWorkflow)]
    match scope:
        case HoldScope.WORKFLOW:
            known = {name_of(cls) for cls in sagas}
        case HoldScope.OPERATION:
            known = {one.name for one in _operations(sagas)}
        case HoldScope.DEPENDENCY:
            known = {one.dependency.name for one in _operations(sagas)}
        case HoldScope.EFFECT:
            known = {one.value for one in Effect if one is not Effect.READ}
        case HoldScope.TENANT:
            if any(cls.__saga__.tenant for cls in sagas):
                return  # whose runs there will be, nobody knows
            raise DefinitionError(
                f"hold on tenant {name!r}",
                rule="no workflow of this service says whose run it is, so it would stop nothing",
                fix="declare it where the saga's class is built, as in tenant='{merchant_id}'",
            )
    if name not in known:
        near = get_close_matches(name, sorted(known), n=1)
        raise DefinitionError(
            f"hold on {scope.value} {name!r}",
            rule=f"this service has no such {scope.value}, so it would stop nothing",
            fix=f"did you mean {near[0]!r}?" if near else f"name one of: {', '.join(sorted(known)) or 'none'}",
        )


def _operations(sagas: Iterable[type[SagaWorkflow]]) -> list[Operation[Any, Any]]:
    used = [operation for cls in sagas for operation in cls.__saga__.operations.values()]
    connectors = find_connectors() if find_optional("connectors") is not None else ()
    return used + [handlers.operation for cls in connectors for handlers in cls.handlers.values()]


def _hold(scope: HoldScope, name: str, *, who: str | None, until: str | None, **terms: Any) -> Hold:
    since = datetime.now(UTC)
    try:
        return Hold(
            scope=scope,
            name=name,
            who=who or getpass.getuser(),
            since=since,
            until=None if until is None else _end(until, since),
            **terms,
        )
    except ValidationError as error:
        raise DefinitionError(
            f"hold on {scope.value} {name!r}",
            rule="; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors()),
            fix="correct the command",
        ) from error


def _end(text: str, since: datetime) -> datetime:
    length = _LENGTH.fullmatch(text)
    if length is not None:
        return since + timedelta(**{_UNITS[length[2]]: int(length[1])})
    try:
        end = datetime.fromisoformat(text)
    except ValueError as error:
        raise DefinitionError(
            f"--until {text!r}",
            rule="it is neither a time nor a length",
            fix="write a time as in 2026-01-31T00:00:00Z, or a length as in 90m, 2h, 1d",
        ) from error
    return end if end.tzinfo else end.replace(tzinfo=UTC)


async def _open_runs(client: Client, workflow_type: str) -> int | None:
    """How many runs of a type are open; ``None`` when nobody can say, which stops no hold."""
    try:
        query = f"WorkflowType='{workflow_type}' AND ExecutionStatus='Running'"
        counted = await client.count_workflows(query, rpc_timeout=_COUNTED_WITHIN)
    except (RPCError, RuntimeError):  # RuntimeError: a lazy client that cannot connect
        return None
    return counted.count


# -- what is told --------------------------------------------------------------------------------------------------


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _told(made: Hold) -> str:
    ends = f"until {_time(made.until)}" if made.until else "until it is switched off"
    gates = ", ".join(gate.value for gate in HoldGate if gate in made.gates)
    more = ("; new runs are accepted and wait" if made.accepts else "") + ("; undos wait, too" if made.undo else "")
    return f"{made}, {ends}; at {gates}{more}"


def _told_stopping(one: Stopping, open_runs: int | None) -> str:
    runs = "?" if open_runs is None else str(open_runs)
    parts = [f"{one.workflow_type} ({runs} open)"]
    if one.starts:
        parts.append("new runs")
    parts.extend(one.operations)
    parts.extend(f"{name} (undo)" for name in one.undos)
    return f"{parts[0]}: {', '.join(parts[1:])}"


def _plain(made: Hold) -> dict[str, Any]:
    return {**made.model_dump(mode="json"), "gates": sorted(made.gates)}


def _plain_stopping(one: Stopping) -> dict[str, Any]:
    return {
        "workflow_type": one.workflow_type,
        "starts": one.starts,
        "operations": list(one.operations),
        "undos": list(one.undos),
    }


def _plain_switch(switch: Switch) -> dict[str, Any]:
    return {
        "on": switch.on,
        "scope": switch.scope.value,
        "name": switch.name,
        "who": switch.who,
        "reason": switch.reason,
        "at": switch.at.isoformat(),
        "hold": switch.hold and _plain(switch.hold),
    }
