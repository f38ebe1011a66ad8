"""A person's decision, written into the ledger: what they say becomes what is known."""

from __future__ import annotations

from dataclasses import replace

from kit.contract import OnceStrategy
from kit.errors import LedgerUnavailable, OutcomeUnknown
from kit.ledger.protocol import Ledger
from kit.ledger.states import LEFT_IN_PLACE, Busy, Decide, State
from kit.worker.documents import dump
from kit.worker.failures import ledger_down
from kit.worker.work import Work
from kit.workflow import Choice, DecisionRecord


def state_of(record: DecisionRecord) -> State:
    """What a decision makes true.

    Supplied: it happened (or was undone) by hand. Skipped: the action will never happen; or its effect stays. Tried
    again, where no machine can know: a person has seen that it did not happen, so another attempt may claim.
    """
    if record.choice is Choice.RETRY:
        return State.REFUSED
    if record.choice is Choice.SUPPLY:
        return State.UNDONE if record.undo else State.DONE
    return State.DONE if record.undo else State.VOID


async def record_decision(work: Work, record: DecisionRecord) -> None:
    """Write a decision down.

    What the ledger knows better stays: a recorded result never changes, a key that stands for another request is not
    this decision's to settle, and an effect of which nothing is known is left as an unconfirmed undo.

    Raises:
        ApplicationError: Not now: another attempt holds the row, or the ledger is unavailable.
    """
    state = state_of(record)
    try:
        result = await _result(work, record) if state is State.DONE else None
        if state is State.DONE and result is None:
            return work.done()
        what = LEFT_IN_PLACE if record.undo and record.choice is Choice.SKIP else record.choice.value
        entry = replace(work.entry(result=result), state=state, reason=f"{what} by {record.who}: {record.why}")
        verdict = await _ledger(work).apply(Decide(entry=entry, now=work.attempt.now))
    except LedgerUnavailable as error:
        raise work.fail(ledger_down(error)) from error
    except OutcomeUnknown as error:
        raise work.fail(error, needs_person=True) from error
    if isinstance(verdict, Busy):
        raise work.denied(verdict)
    return work.done()


async def _result(work: Work, record: DecisionRecord) -> bytes | None:
    """The result of what is done: supplied by the person, or of the effect that is left in place, if it is known."""
    if not record.undo:
        return dump(work.operation, record.result)
    row = await _ledger(work).get(work.token.key)
    return None if row is None else row.result


def _ledger(work: Work) -> Ledger:
    database = work.connector.database
    return database if work.strategy is OnceStrategy.BY_TRANSACTION and database is not None else work.ledger
