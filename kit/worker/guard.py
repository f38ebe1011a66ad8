"""The guard: what happens around one attempt, so that an effect happens once and its truth is known.

===============================  ==========================================  ==========================================
ledger row for the key           an attempt of the action                    an attempt of the undo
===============================  ==========================================  ==========================================
none                             claim with lease, execute                   write a ``void`` tombstone; done
                                                                             (null compensation) [1]_
claimed, lease live, other       retry after the lease                       retry after the lease
owner
claimed, lease over; or unknown  by the once-strategy: look it up, repeat    the same, then undo if it happened, else
                                 under the same key or state, or ask a       ``void``
                                 person
done, same fingerprint           return the recorded result                  undo, then ``undone``
any, other fingerprint           refuse: ``key_reused``                      refuse
refused                          a new attempt may claim                     ``void``, done [1]_
any, of another saga             as above                                    done: not this saga's to undo
undoing, void, undone            refuse: the action came after its undo      go on with it; or done, do nothing
===============================  ==========================================  ==========================================

.. [1] Unless the workflow holds the action's result: then the row was lost, or says what was true before, and the
   effect is undone.

What may go wrong between two lines, and what then:

- *dies after the claim, before the effect*: the lease runs out, the outcome is unknown, the next attempt resolves it.
- *dies after the effect, before the record*: the same; the look-up (or the same key) finds the effect.
- *the record cannot be written*: repeated within the attempt's timeout; then the result is returned to Temporal and
  the row is left for the look-up. A failure is never reported for an effect that happened.
- *the reply is lost*: the row says ``unknown`` from the instant of the loss. A later clean refusal does not clear it;
  only a look-up does, once the dependency's settle time has passed.
- *a late attempt completes after the undo*: its write is fenced off, and it undoes its own effect on the spot.
- *cancelled in the middle* (worker shutdown): ``unknown``, written before the cancellation goes on.

An exception deletes nothing. Only an outcome known to be clean frees a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio.exceptions import ApplicationError

from kit.contract import OnceStrategy, Operation, Role, Token, UndoRequest
from kit.errors import FailureKind, NotStarted, OperationFailure, Outcome, OutcomeUnknown
from kit.ledger.protocol import Ledger
from kit.worker import acting, deciding, settling, transaction, undoing
from kit.worker.attempt import WAITING, Attempt
from kit.worker.connector import Connector
from kit.worker.context import elapsed
from kit.worker.documents import dump
from kit.worker.gates import Gate
from kit.worker.holding import HoldWatch
from kit.worker.work import Work
from kit.workflow import RECORD_ACTIVITY, DecisionRecord

T = TypeVar("T")


class Guard:
    """Stands around every attempt of every operation of one worker process.

    Guarantees, for the stated assumptions (``docs/explanation/failure-model.md``): at most one live effect per key; an
    effect that happened is never reported as a clean failure; an action never takes effect after its undo without
    being undone again. Not guaranteed: anything about effects that a connector causes outside its marked methods.

    Args:
        ledger: The durable record; opened by the caller.
        retention: How long settled rows are kept. Not shorter than any replay may come.
        clock: Seconds that only go forward, for circuit breakers and rate limits.
        holds: What is known of the holds; ``None`` where nobody can switch one on.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        retention: timedelta = timedelta(days=90),
        clock: Callable[[], float] = elapsed,
        holds: HoldWatch | None = None,
    ) -> None:
        self.ledger = ledger
        self.retention = retention
        self._clock = clock
        self._holds = holds
        self._gates: dict[str, Gate] = {}

    async def act(
        self,
        connector: Connector,
        operation: Operation[Any, Any],
        request: BaseModel,
        token: Token,
        attempt: Attempt,
    ) -> Any:
        """Make one attempt of an action.

        Returns:
            The operation's result: fresh, found, or recorded by an earlier attempt.

        Raises:
            ApplicationError: Classified: type ``"<dependency>.<kind>"``, details `kit.contract.FailureDetails`.
        """
        work = self._work(connector, operation, request, token, attempt, Role.ACTION)
        if (error := work.died_too_often()) is not None:
            raise error
        _pass_holds(work)
        if work.strategy is None:
            return await self._classified(work, acting.read(work))
        if work.strategy is OnceStrategy.BY_TRANSACTION:
            return await self._classified(work, transaction.act(work))
        return await self._classified(work, acting.act(work))

    async def undo(
        self,
        connector: Connector,
        operation: Operation[Any, Any],
        undo: UndoRequest[Any, Any],
        token: Token,
        attempt: Attempt,
    ) -> bool:
        """Make one attempt of an undo. Safe before the action, after it, and again.

        Returns:
            Whether there was an effect to undo.

        Raises:
            ApplicationError: As in `act`; with ``needs_person`` where no machine can undo it.
        """
        work = self._work(connector, operation, undo.request, token, attempt, Role.COMPENSATION)
        if work.strategy is None:
            return False  # a READ leaves nothing behind
        _pass_holds(work)
        return await self._classified(work, self._undo(work, undo))

    async def settle(
        self,
        connector: Connector,
        operation: Operation[Any, Any],
        undo: UndoRequest[Any, Any],
        token: Token,
        attempt: Attempt,
    ) -> tuple[bool, Any]:
        """Make one attempt to find out whether an action happened. What did stays, and what did not never will.

        Returns:
            Whether it happened, and the operation's result if it did.

        Raises:
            ApplicationError: As in `undo`.
        """
        work = self._work(connector, operation, undo.request, token, attempt, Role.COMPENSATION)
        if work.strategy is OnceStrategy.BY_TRANSACTION:
            return await self._classified(work, transaction.settle(work))
        return await self._classified(work, settling.settle(work))

    async def _undo(self, work: Work, undo: UndoRequest[Any, Any]) -> bool:
        known = dump(work.operation, undo.result) if undo.outcome is Outcome.DONE else None
        if work.strategy is OnceStrategy.BY_TRANSACTION:
            return await transaction.undo(work, known=known, alone=undo.alone)
        return await undoing.undo(work, known=known, alone=undo.alone)

    async def record_decision(
        self,
        connector: Connector,
        operation: Operation[Any, Any],
        record: DecisionRecord,
        token: Token,
        attempt: Attempt,
    ) -> None:
        """Write down what a person decided about an operation.

        Raises:
            ApplicationError: As in `act`.
        """
        try:
            request = operation.request.model_validate(record.request)
            result = None if record.result is None else TypeAdapter(operation.result).validate_python(record.result)
        except ValidationError as error:
            text = f"{RECORD_ACTIVITY}: the contract of {operation.name} changed under a decision: {error}"
            raise ApplicationError(text, type=f"{operation.dependency.name}.invalid", non_retryable=True) from error
        record = record.model_copy(update={"result": result})
        work = self._work(connector, operation, request, token, attempt, Role.ACTION)
        await self._classified(work, deciding.record_decision(work, record))

    def _work(
        self,
        connector: Connector,
        operation: Operation[Any, Any],
        request: BaseModel,
        token: Token,
        attempt: Attempt,
        role: Role,
    ) -> Work:
        dependency = operation.dependency
        gate = self._gates.get(dependency.name)
        if gate is None:
            gate = self._gates[dependency.name] = Gate(dependency, clock=self._clock)
        token = token.model_copy(update={"attempt": attempt.number, "deadline": attempt.cut_off})
        return Work(connector, operation, request, token, attempt, role, self.ledger, gate, self.retention, self._holds)

    async def _classified(self, work: Work, attempt: Awaitable[T]) -> T:
        """Whatever goes wrong in the guard itself is a bug with few attempts, never an endless retry."""
        try:
            return await attempt
        except asyncio.CancelledError:
            # A worker that stops is no failure of the operation: it must not count as an attempt that was lost.
            work.attempt.counts[WAITING] = work.attempt.counts.get(WAITING, 0) + 1
            work.attempt.remember(work.attempt.counts)
            raise
        except ApplicationError:
            raise
        except Exception as error:
            failure = (
                error
                if isinstance(error, OperationFailure)
                else OutcomeUnknown(FailureKind.BUG, f"{type(error).__name__}: {error}", reason=type(error).__name__)
            )
            if work.role is Role.COMPENSATION:
                raise work.undo_failed(failure) from error
            raise work.fail(failure, outcome=Outcome.UNKNOWN) from error


def _pass_holds(work: Work) -> None:
    """Before anything is claimed: what waits for the end of a hold keeps nobody else waiting.

    Raises:
        ApplicationError: Kind ``held``; the same step asks again in a moment.
    """
    try:
        work.pass_holds()
    except NotStarted as held:
        raise work.fail(held, outcome=work.outcome_before) from held
