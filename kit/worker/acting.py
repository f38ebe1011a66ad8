"""One attempt of an action, with its row in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError

from kit.contract import OnceStrategy, Role, Undo
from kit.contract.token import REASON_UNKNOWABLE
from kit.errors import FailureKind, LedgerUnavailable, OperationFailure, Outcome, Refused
from kit.ledger.states import ClaimAction, Claimed, Complete, Entry, Lost, Recorded, Release, Settled, State
from kit.telemetry import Event, count, names
from kit.worker.documents import dump
from kit.worker.failures import ledger_down
from kit.worker.work import FIRST_PAUSE, LONGEST_PAUSE, Work, log

T = TypeVar("T")


async def read(work: Work) -> Any:
    """A ``READ``: nothing changes by it, so nothing is claimed and nothing can be left behind."""
    try:
        result = await work.call(Role.ACTION, work.request)
        dump(work.operation, result)
    except OperationFailure as failure:
        raise work.fail(failure, outcome=Outcome.REFUSED) from failure
    work.done()
    return result


async def act(work: Work) -> Any:
    """Claim, then execute, answer from the record, or resolve what an earlier attempt left open."""
    try:
        verdict = await work.ledger.apply(ClaimAction(entry=work.entry(), now=work.attempt.now))
    except LedgerUnavailable as error:
        raise work.fail(ledger_down(error), outcome=work.outcome_before) from error
    match verdict:
        case Recorded(entry):
            return work.recorded(entry)
        case Claimed(entry):
            since = entry.unknown_since
            if since is None:
                return await _execute(work, entry, certain=True)
            return await _resolve(work, entry, since)
        case _:
            raise work.denied(verdict)


async def _execute(work: Work, entry: Entry, *, certain: bool) -> Any:
    """Carry the action out under a claim. ``certain``: no earlier attempt can have had the effect."""
    try:
        result = await work.call(Role.ACTION, work.request)
        document = dump(work.operation, result)
    except asyncio.CancelledError:
        await work.doubt(entry, reason="cancelled", since=work.attempt.now)
        raise
    except OperationFailure as failure:
        if failure.outcome is Outcome.UNKNOWN:
            await work.doubt(entry, reason=failure.reason, since=work.attempt.now)
            raise work.fail(failure, needs_person=work.strategy is OnceStrategy.NEVER_TWICE) from failure
        if not certain and failure.outcome is Outcome.REFUSED and work.has_probe:
            return await _refused_in_doubt(work, entry, failure)
        await _release(work, entry, failure, certain=certain)
        raise work.fail(failure, outcome=failure.outcome if certain else Outcome.UNKNOWN) from failure
    return await _record(work, entry, result, document)


async def _resolve(work: Work, entry: Entry, since: datetime) -> Any:
    """An earlier attempt may have had the effect: find out, by the once-strategy."""
    if work.strategy is OnceStrategy.BY_STATE or work.key_lives(entry):
        return await _execute(work, entry, certain=False)
    if not work.has_probe:
        await work.doubt(entry, reason=REASON_UNKNOWABLE, since=since)
        raise work.fail(work.unknowable(), needs_person=True)
    found = await _probe(work, entry, since)
    if found is not None:
        return await _record(work, entry, found, dump(work.operation, found))
    if work.strategy is OnceStrategy.NEVER_TWICE:
        await work.doubt(entry, reason=REASON_UNKNOWABLE, since=since)
        raise work.fail(work.unknowable(), needs_person=True)
    if (waiting := work.unsettled(since)) is not None:
        await work.doubt(entry, reason=waiting.reason, since=since)
        raise work.fail(waiting)
    work.doubt_resolved(found=False)
    return await _execute(work, entry, certain=True)


async def _refused_in_doubt(work: Work, entry: Entry, failure: OperationFailure) -> Any:
    """Refused now, after an attempt of unknown outcome: the refusal may only say that it happened before."""
    since = entry.unknown_since or work.attempt.now
    found = await _probe(work, entry, since)
    if found is not None:
        return await _record(work, entry, found, dump(work.operation, found))
    certain = work.unsettled(since) is None
    if certain:
        work.doubt_resolved(found=False)
    await _release(work, entry, failure, certain=certain)
    raise work.fail(failure, outcome=Outcome.REFUSED if certain else Outcome.UNKNOWN) from failure


async def _probe(work: Work, entry: Entry, since: datetime) -> Any:
    """Look the truth up; when that fails the claim is given back in doubt."""
    try:
        found = await work.call(Role.PROBE, work.request)
        if found is not None:
            dump(work.operation, found)
    except asyncio.CancelledError:
        await work.doubt(entry, reason="cancelled", since=since)
        raise
    except OperationFailure as failure:
        await work.doubt(entry, reason=failure.reason, since=since)
        raise work.fail(failure, outcome=Outcome.UNKNOWN) from failure
    if found is not None:
        work.doubt_resolved(found=True)
    return found


async def _release(work: Work, entry: Entry, failure: OperationFailure, *, certain: bool) -> None:
    command = Release(key=entry.key, owner=entry.owner, reason=failure.reason, now=work.attempt.now, certain=certain)
    await work.write(command, entry)


async def _record(work: Work, entry: Entry, result: Any, document: bytes) -> Any:
    """Write the result down, trying as long as the attempt may last; give it to Temporal in any case."""
    command = Complete(key=entry.key, owner=entry.owner, result=document, now=work.attempt.now)
    verdict = await work.insist(command, entry)
    if isinstance(verdict, Settled):
        work.done()
        return result
    standing = verdict.entry if isinstance(verdict, Lost) else None
    count(work.attempt.meter, names.RESULTS_UNRECORDED, operation=work.operation.name)
    log.error(Event.RESULT_UNRECORDED, **work.facts, state=standing.state.value if standing else None)
    # Refused: a later attempt has told the saga that there is no effect, so nobody will come to undo this one.
    if standing is not None and standing.state in (State.VOID, State.UNDONE, State.UNDOING, State.REFUSED):
        raise await _finish(_undo_late(work, result))
    work.done()
    return result


async def _finish(ending: Coroutine[Any, Any, T]) -> T:
    """Run to the end even when the activity is cancelled meanwhile, and let the cancellation go on then.

    The server gives up on a late attempt and says so, and nobody but this attempt knows of its effect.
    """
    task = asyncio.ensure_future(ending)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


async def _undo_late(work: Work, result: Any) -> ApplicationError:
    """This attempt's effect landed after its undo had found nothing: take it back here and now.

    The attempt's own time is over or nearly so: the undo has as much again, and is repeated until it succeeds.

    Returns:
        The error that ends the attempt.
    """
    count(work.attempt.meter, names.EFFECTS_LATE, operation=work.operation.name)
    log.error(Event.EFFECT_LATE, **work.facts)
    if not work.operation.effect.undoable:
        return work.fail(work.unknowable(), needs_person=True)
    until = work.attempt.now + work.attempt.timeout
    pause = FIRST_PAUSE
    while True:
        try:
            await work.call(Role.COMPENSATION, Undo(work.request, result), until=until)
            break
        except OperationFailure as failure:
            if work.attempt.now + timedelta(seconds=pause) >= until:
                return work.fail(failure, outcome=Outcome.UNKNOWN, needs_person=True)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
    late = Refused(FailureKind.CONFLICT, "it took effect after its undo and was undone again", reason="late")
    return work.fail(late, final=True)
