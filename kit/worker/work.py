"""One attempt at work: what it serves, what it knows, and the few things it can do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from kit.contract import HELD_PAUSE, Asking, OnceStrategy, Operation, Role, Token, fingerprint
from kit.contract.token import REASON_SHARED, REASON_UNKNOWABLE
from kit.errors import (
    FailureKind,
    LedgerError,
    LedgerUnavailable,
    NotStarted,
    OperationFailure,
    Outcome,
    OutcomeUnknown,
    Refused,
)
from kit.ledger.protocol import Ledger
from kit.ledger.states import Busy, Command, Doubt, Entry, Rejected, State, Verdict
from kit.telemetry import Event, count, names, process_log
from kit.worker.attempt import LOST, Attempt
from kit.worker.connector import Connector
from kit.worker.context import Call, current_call
from kit.worker.documents import load
from kit.worker.failures import Waiting, application_error, classify
from kit.worker.gates import Gate
from kit.worker.holding import HoldWatch
from kit.workflow import Source

UNDO_KEY_SUFFIX: Final = ":undo"
"""Appended to an action's key, it is the key under which the compensation talks to the provider."""

REASON_HELD: Final = "held"
REASON_HOLDS_UNKNOWN: Final = "holds_unknown"
"""Reason codes of an attempt that waits: for the end of a hold, or for somebody to know whether one is on."""

LEASE_MARGIN: Final = timedelta(seconds=1)
"""How much longer a lease is than its attempt: covers a start that was slow to get here. It costs nothing: after an
attempt that ended without a word the server waits as long (`kit.workflow.schedule`) before the next one."""

STUCK_AFTER: Final = 10
"""An undo that has failed this many times is reported at every further attempt."""

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""Seconds between attempts at what must not stay undone: to record a result, to take back a late effect."""

log: Final = process_log("kit.guard")


@dataclass(slots=True)
class Work:
    """One attempt of an action or of an undo."""

    connector: Connector
    operation: Operation[Any, Any]
    request: BaseModel
    token: Token
    attempt: Attempt
    role: Role
    ledger: Ledger
    gate: Gate
    retention: timedelta
    holds: HoldWatch | None = None

    # -- what it knows ---------------------------------------------------------------------------------------------

    @property
    def strategy(self) -> OnceStrategy | None:
        """The once-strategy; ``None`` for a ``READ``."""
        return self.operation.once.strategy if self.operation.once else None

    @property
    def has_probe(self) -> bool:
        """Whether the truth can be looked up."""
        return self.connector.method(self.operation, Role.PROBE) is not None

    @property
    def persistent(self) -> bool:
        """Whether transient failures are retried without end: always for an undo, which must not give up."""
        return self.token.persistent or self.role is Role.COMPENSATION

    def key_lives(self, entry: Entry) -> bool:
        """Whether the provider still remembers the key of the first attempt, however late it takes this one up."""
        once = self.operation.once
        if once is None or once.ttl is None:
            return False
        return self.attempt.cut_off + self.operation.dependency.settle < entry.first_claimed_at + once.ttl

    @property
    def facts(self) -> dict[str, Any]:
        """What every log line says."""
        return {
            "operation": self.operation.name,
            "role": self.role.value,
            "key": self.token.key,
            "correlation_id": self.token.correlation_id,
            "workflow_id": self.token.workflow_id,
            "step": self.token.step,
            "attempt": self.attempt.number,
        }

    def entry(self, *, result: bytes | None = None) -> Entry:
        """The row this attempt would write. The lease is a little longer than the attempt's own timeout."""
        now = self.attempt.now
        return Entry(
            key=self.token.key,
            fingerprint=fingerprint(self.operation.name, self.request),
            operation=self.operation.name,
            version=self.operation.version,
            state=State.CLAIMED,
            saga=self.token.workflow_id,
            run_id=self.token.run_id,
            step=self.token.step,
            correlation_id=self.token.correlation_id,
            request=self.request.model_dump_json().encode(),
            result=result,
            owner=self.attempt.owner,
            lease_until=self.attempt.started_at + self.attempt.timeout + LEASE_MARGIN,
            first_claimed_at=now,
            updated_at=now,
            expires_at=now + self.retention,
        )

    # -- holds -----------------------------------------------------------------------------------------------------

    def pass_holds(self) -> None:
        """Go on, unless a hold stops this attempt: of the action, or of the undo where the hold names it.

        Raises:
            NotStarted: Kind ``held``: it must wait, and loses no attempt by it.
        """
        if self.holds is None:
            return
        token = self.token
        asking = Asking(
            operation=self.operation,
            workflow_type=self.attempt.workflow_type,
            tenant=token.tenant,
            undo=self.role is Role.COMPENSATION,
            after_commit=token.after_commit,
            opened_at=self.attempt.scheduled_at if token.opens else None,
        )
        stopped = self.holds.stopped(asking, token=token, now=self.attempt.now)
        if stopped is None:
            return
        scope = stopped.hold.scope.value if stopped.hold else "unknown"
        count(self.attempt.meter, names.ATTEMPTS_HELD, operation=self.operation.name, scope=scope)
        if self.attempt.counts.get(FailureKind.HELD.value, 0) == 0:
            log.info(Event.STEP_HELD, **self.facts, why=str(stopped))
        reason = REASON_HELD if stopped.hold else REASON_HOLDS_UNKNOWN
        raise NotStarted(FailureKind.HELD, str(stopped), reason=reason, retry_after=HELD_PAUSE)

    # -- calling the connector -------------------------------------------------------------------------------------

    async def call(self, role: Role, *args: Any, until: datetime | None = None) -> Any:
        """Call one of the connector's methods through the gate, within what is left of the attempt.

        Nothing is sent after the cut-off: by then another attempt may hold the row. A compensation is called with a
        token whose key is its own.

        Args:
            role: Which method.
            *args: Its arguments; the token goes in after the first.
            until: Another instant to be over at than the attempt's cut-off.

        Raises:
            OperationFailure: Classified. Nothing else comes out but a cancellation.
        """
        method = self.connector.method(self.operation, role)
        if method is None:
            raise OutcomeUnknown(FailureKind.BUG, f"{self.operation.name} has no {role.value}", reason="no_method")
        until = until or self.attempt.cut_off
        token = self.token
        if role is Role.COMPENSATION:
            token = token.model_copy(update={"deadline": until, "key": token.key + UNDO_KEY_SUFFIX})
        elif token.deadline != until:
            token = token.model_copy(update={"deadline": until})
        left = (until - self.attempt.now).total_seconds()
        if left > 0:
            await self.gate.enter(patience=timedelta(seconds=left / 2))
            left = (until - self.attempt.now).total_seconds()
        if role is Role.ACTION:  # the wait for a place may have been long
            try:
                self.pass_holds()
            except NotStarted:
                self.gate.abandoned()
                raise
        if left <= 0:
            self.gate.abandoned()
            raise NotStarted(FailureKind.TIMEOUT, "no time was left to begin", reason="too_late")
        result = await self._within(left, role, method, args[0], token, *args[1:])
        if self.gate.answered():
            log.info(Event.CIRCUIT_CLOSED, dependency=self.operation.dependency.name)
        return result

    async def _within(self, left: float, role: Role, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Call ``method`` for at most ``left`` seconds, tell the gate how it failed, and classify that."""
        reset = current_call.set(Call(self.operation, role, args[1], lambda: self.attempt.now))
        cut = asyncio.timeout(left)
        try:
            async with cut:
                return await method(*args)
        except Exception as error:  # a connector may raise anything, and all of it is classified and raised again
            failure = (
                OutcomeUnknown(FailureKind.TIMEOUT, f"no answer within {left:.1f} s")
                if isinstance(error, TimeoutError) and cut.expired()
                else classify(self.connector, self.operation, error)
            )
            if self.gate.failed(failure):
                count(self.attempt.meter, names.CIRCUITS_OPENED, dependency=self.operation.dependency.name)
                log.warning(Event.CIRCUIT_OPENED, dependency=self.operation.dependency.name)
            if failure is error:
                raise
            raise failure from error
        except BaseException:  # cancelled, or the process goes down: a trial call gives its place back in any case
            self.gate.abandoned()
            raise
        finally:
            current_call.reset(reset)

    # -- writing to the ledger -------------------------------------------------------------------------------------

    async def write(self, command: Command, expected: Entry) -> None:
        """A write whose loss is safe: without it the lease runs out and the outcome counts as unknown."""
        try:
            await asyncio.shield(self.ledger.apply(command, expected=expected))
        except LedgerError as error:
            log.warning(Event.RESULT_UNRECORDED, **self.facts, error=str(error))

    async def doubt(self, entry: Entry, *, reason: str, since: datetime) -> None:
        """Write down that the action may have happened."""
        now = self.attempt.now
        await self.write(Doubt(key=entry.key, owner=entry.owner, reason=reason, since=since, now=now), entry)

    async def insist(self, command: Command, expected: Entry) -> Verdict | None:
        """A write that matters: repeated while the server waits. ``None`` when it could not be made."""
        pause = FIRST_PAUSE
        until = self.attempt.started_at + self.attempt.timeout
        while True:
            try:
                return await asyncio.shield(self.ledger.apply(command, expected=expected))
            except LedgerUnavailable as error:
                if self.attempt.now + timedelta(seconds=pause) >= until:
                    log.warning(Event.RESULT_UNRECORDED, **self.facts, error=str(error))
                    return None
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception as error:  # the effect has happened: what is wrong with the ledger must not deny it
                log.exception(Event.RESULT_UNRECORDED, **self.facts, error=str(error))
                return None

    # -- how it ends -----------------------------------------------------------------------------------------------

    def fail(
        self,
        failure: OperationFailure,
        *,
        outcome: Outcome | None = None,
        needs_person: bool = False,
        final: bool = False,
    ) -> ApplicationError:
        """The error that ends this attempt; ``outcome`` where all attempts together left more than this one."""
        left = outcome or failure.outcome
        error = application_error(
            self.operation,
            failure,
            self.attempt,
            outcome=left,
            persistent=self.persistent,
            key=self.token.key or self.token.workflow_id,  # a READ has no key
            role=self.role,
            needs_person=needs_person,
            final=final,
        )
        self._count(left, failure.kind)
        if failure.kind is FailureKind.HELD and not error.non_retryable:
            return error  # said once, where it was stopped; a thousand waiting runs would say it every second
        log.warning(
            Event.ATTEMPT_FAILED,
            **self.facts,
            kind=failure.kind.value,
            outcome=left.value,
            reason=failure.reason,
            error=str(failure),
            permanent=error.non_retryable,
        )
        if self.role is Role.COMPENSATION and self.attempt.number >= STUCK_AFTER:
            count(self.attempt.meter, names.UNDOS_STUCK, operation=self.operation.name)
            log.error(Event.UNDO_STUCK, **self.facts, error=str(failure))
        return error

    def denied(self, verdict: Verdict) -> ApplicationError:
        """The error of an attempt that the ledger did not let in."""
        match verdict:
            case Busy(_, until):
                wait = max(until - self.attempt.now, timedelta(0))
                text = f"another attempt holds the key for {wait.total_seconds():.1f} s more"
                wait += timedelta(milliseconds=10)
                return self.fail(Waiting(FailureKind.CONFLICT, text, reason="lease_live", retry_after=wait))
            case Rejected(entry, kind, reason):
                undoing = self.role is Role.COMPENSATION
                failure = Refused(kind, self._why_never(entry, kind, reason), reason=reason)
                left = Outcome.UNKNOWN if undoing else self._left_by(entry, kind)
                return self.fail(failure, outcome=left, needs_person=undoing, final=True)
            case _:
                raise AssertionError(f"the ledger answered {verdict!r} to a claim")

    def _why_never(self, entry: Entry, kind: FailureKind, reason: str) -> str:
        if kind is FailureKind.KEY_REUSED:
            return (
                f"the key {entry.key!r} was used before, by {entry.saga!r}, for another request of "
                f"{entry.operation}; a key must name one effect"
            )
        if reason == REASON_SHARED:
            return (
                f"the key {entry.key!r} is {entry.state.value} for {entry.sagas[0]!r}, too: nothing can take its place"
            )
        return f"the action came after its undo: the key {entry.key!r} is {entry.state.value}"

    def _left_by(self, entry: Entry, kind: FailureKind) -> Outcome:
        """What is left behind when the ledger says never: nothing, unless the row may be this step's own."""
        if kind is FailureKind.KEY_REUSED:
            # An earlier attempt of this very step, whose request read differently before a deploy.
            own = self.attempt.number > 1 and entry.saga == self.token.workflow_id
            return Outcome.UNKNOWN if own else Outcome.REFUSED
        # An undo that was begun and not confirmed (and perhaps forgotten by a reset) must be gone on with.
        return Outcome.UNKNOWN if entry.state is State.UNDOING else Outcome.REFUSED

    def recorded(self, entry: Entry) -> Any:
        """Answer from the ledger."""
        try:
            result = load(self.operation, entry.result)
        except OutcomeUnknown as failure:
            raise self.fail(failure, outcome=Outcome.DONE, needs_person=True) from failure
        self.attempt.source = Source.RECORDED
        count(self.attempt.meter, names.DUPLICATES_PREVENTED, operation=self.operation.name)
        log.info(Event.DUPLICATE_PREVENTED, **self.facts, first_saga=entry.saga)
        return result

    def done(self) -> None:
        """Count this attempt as done."""
        self._count(Outcome.DONE, None)

    def _count(self, outcome: Outcome, kind: FailureKind | None) -> None:
        count(
            self.attempt.meter,
            names.ATTEMPTS,
            operation=self.operation.name,
            role=self.role.value,
            outcome=outcome.value,
            kind=kind.value if kind else None,
        )

    def undo_done(self, *, happened: bool) -> bool:
        """Count this undo as done; ``happened`` says whether there was an effect."""
        self.done()
        found = "undone" if happened else "nothing_to_undo"
        count(self.attempt.meter, names.UNDOS, operation=self.operation.name, result=found)
        log.info(Event.UNDO_DONE, **self.facts, happened=happened)
        return happened

    def undo_failed(self, failure: OperationFailure) -> ApplicationError:
        """An undo that ends for good leaves an effect behind, so a person must look."""
        rule = self.operation.retry_for(failure.kind, persistent=True)
        failures = self.attempt.counts.get(failure.kind.value, 0) + 1
        exhausted = not isinstance(failure, Waiting) and rule.exhausted(failures)
        return self.fail(failure, outcome=Outcome.UNKNOWN, needs_person=exhausted)

    def doubt_resolved(self, *, found: bool) -> None:
        """Count a look-up that settled an unknown outcome."""
        if found:
            self.attempt.source = Source.FOUND
        count(self.attempt.meter, names.DOUBTS_RESOLVED, operation=self.operation.name, found=str(found).lower())
        log.info(Event.DOUBT_RESOLVED, **self.facts, found=found)

    def unsettled(self, since: datetime) -> Waiting | None:
        """Whether a look-up that found nothing is too early to be believed, and when to come back."""
        left = since + self.operation.dependency.settle - self.attempt.now
        if left <= timedelta(0):
            return None
        text = f"nothing was found, which is believed {left.total_seconds():.1f} s from now (settle time)"
        return Waiting(FailureKind.TIMEOUT, text, reason="settling", retry_after=left)

    def unknowable(self) -> OutcomeUnknown:
        """The outcome cannot be known by a machine."""
        text = f"whether it happened cannot be known by a machine (once {self.strategy})"
        return OutcomeUnknown(FailureKind.TIMEOUT, text, reason=REASON_UNKNOWABLE)

    def died_too_often(self) -> ApplicationError | None:
        """An attempt that kills its worker every time is not tried for ever."""
        counts = self.attempt.counts
        lost = counts.get(LOST, 0)
        rule = self.operation.retry_for(FailureKind.TIMEOUT, persistent=self.persistent)
        if lost == 0 or not rule.exhausted(lost + counts.get(FailureKind.TIMEOUT.value, 0)):
            return None
        text = f"{lost} attempts ended without a word (worker lost, or too slow)"
        clean = Outcome.REFUSED if self.strategy is None else Outcome.UNKNOWN
        return self.fail(OutcomeUnknown(FailureKind.TIMEOUT, text, reason="lost"), outcome=clean)

    @property
    def outcome_before(self) -> Outcome:
        """What is left behind when this attempt did nothing: nothing, if it is the first, or all others were held."""
        earlier = self.attempt.number - 1
        idle = self.attempt.counts.get(FailureKind.HELD.value, 0) >= earlier
        return Outcome.NOT_STARTED if idle else Outcome.UNKNOWN
