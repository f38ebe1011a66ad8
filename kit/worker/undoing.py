"""One attempt of an undo, with its row in the ledger."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.exceptions import ApplicationError

from kit.contract import OnceStrategy, Role, Undo
from kit.contract.token import REASON_NO_UNDO
from kit.errors import FailureKind, LedgerUnavailable, OperationFailure, Outcome, OutcomeUnknown
from kit.ledger.states import Claimed, ClaimUndo, Entry, ReleaseUndo, Settled, State, Undone
from kit.telemetry import Event, count, names
from kit.worker.documents import dump, load
from kit.worker.failures import ledger_down
from kit.worker.work import Work, log


async def undo(work: Work, *, known: bytes | None, alone: bool = False) -> bool:
    """Claim the undo and carry it out.

    Args:
        work: The attempt.
        known: The action's result as the workflow remembers it.
        alone: See `kit.contract.UndoRequest`.

    Returns:
        Whether there was an effect to undo.
    """
    try:
        ask = ClaimUndo(entry=work.entry(result=known), now=work.attempt.now, alone=alone)
        verdict = await work.ledger.apply(ask)
    except LedgerUnavailable as error:
        raise work.undo_failed(ledger_down(error)) from error
    match verdict:
        case Settled(entry):
            return work.undo_done(happened=entry.state is State.UNDONE)
        case Claimed(entry):
            return await _take_back(work, entry)
        case _:
            raise work.denied(verdict)


async def _take_back(work: Work, entry: Entry) -> bool:
    try:
        if entry.result is not None:
            found, result = True, load(work.operation, entry.result)
        else:
            found, result = await _happened(work, entry)
            if found:
                entry = await _remember(work, entry, result)
        if found:
            require_undo(work)
            await work.call(Role.COMPENSATION, Undo(work.request, result))
    except asyncio.CancelledError:
        await _release(work, entry, "cancelled")
        raise
    except OperationFailure as failure:
        await _release(work, entry, failure.reason)
        raise work.undo_failed(failure) from failure
    except ApplicationError as error:
        await _release(work, entry, error.type or "failed")
        raise
    undone = Undone(key=entry.key, owner=entry.owner, happened=found, now=work.attempt.now)
    verdict = await work.insist(undone, entry)
    if not isinstance(verdict, Settled):
        # It is undone all the same; whoever comes next undoes it again, which a compensation must bear.
        count(work.attempt.meter, names.RESULTS_UNRECORDED, operation=work.operation.name)
        log.error(Event.RESULT_UNRECORDED, **work.facts)
    return work.undo_done(happened=found)


async def _happened(work: Work, entry: Entry) -> tuple[bool, Any]:
    """Whether the action of unknown outcome had its effect, and its result.

    The look-up comes first even where the key still lives: repeating the action under its key would cause the effect
    if it had not happened. Only without a look-up is it repeated, and then undone.
    """
    if work.has_probe:
        found = await work.call(Role.PROBE, work.request)
        if found is None and (waiting := work.unsettled(entry.unknown_since or work.attempt.started_at)) is not None:
            raise waiting
        work.doubt_resolved(found=found is not None)
        return found is not None, found
    if work.strategy is not OnceStrategy.BY_STATE and not work.key_lives(entry):
        raise work.fail(work.unknowable(), needs_person=True)
    try:
        return True, await work.call(Role.ACTION, work.request)
    except OperationFailure as failure:
        if failure.outcome is not Outcome.REFUSED:
            raise
        # A refusal now says nothing about then.
        raise work.fail(work.unknowable(), needs_person=True) from failure


async def _remember(work: Work, entry: Entry, result: Any) -> Entry:
    """Write down what was found before it is undone, and go on under the new claim.

    A later attempt need not find it again then: after a lost compensation there is nothing left to find, and the row
    would say that there never was.
    """
    document = dump(work.operation, result)
    try:
        await work.ledger.apply(
            ReleaseUndo(key=entry.key, owner=entry.owner, reason="found", now=work.attempt.now), expected=entry
        )
        verdict = await work.ledger.apply(ClaimUndo(entry=work.entry(result=document), now=work.attempt.now))
    except LedgerUnavailable as error:
        raise ledger_down(error) from error
    if isinstance(verdict, Claimed):
        return verdict.entry
    raise work.denied(verdict)


def require_undo(work: Work) -> None:
    """Refuse what has no undo: a person must decide.

    Raises:
        ApplicationError: The operation's effect has no compensation.
    """
    effect = work.operation.effect
    if effect.undoable:
        return
    text = f"its effect is {effect.name}: there is no automatic undo"
    raise work.fail(OutcomeUnknown(FailureKind.INVALID, text, reason=REASON_NO_UNDO), needs_person=True)


async def _release(work: Work, entry: Entry, reason: str) -> None:
    await work.write(ReleaseUndo(key=entry.key, owner=entry.owner, reason=reason, now=work.attempt.now), entry)
