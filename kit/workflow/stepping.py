"""Steps: on the stack before they are scheduled, at work until their outcome is known, checked at each boundary."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from kit.contract import Effect, FailureDetails, FailureKind, Operation, Outcome
from kit.contract.keys import quoted
from kit.contract.token import REASON_SHARED
from kit.telemetry import Event
from kit.workflow import children
from kit.workflow.approving import Approvals
from kit.workflow.definition import operation_named
from kit.workflow.doubt import find_out, in_doubt
from kit.workflow.editing import replacement, settle_original
from kit.workflow.outcomes import REASON_CANCELLED, REASON_DEADLINE, read_failure
from kit.workflow.parents import HeldBack
from kit.workflow.people import Desk
from kit.workflow.run import Run
from kit.workflow.schedule import start_action
from kit.workflow.settling import freeze, settled, shielded
from kit.workflow.steps import Done, Phase, Step, UnreadableResult
from kit.workflow.tasks import Approval, Choice, Decision
from kit.workflow.telling import DEADLINE, INVALID

_PARKS: Final = frozenset({Phase.FORWARD, Phase.AFTER_COMMIT})
"""Phases in which a permanent failure cannot turn the saga round."""


_LEAST_BUDGET: Final = timedelta(minutes=1)
"""What a step has at least that ran out of time while it was held."""


class Stepper:
    """Takes a run's steps.

    Attributes:
        held_back: What waits for the commit.
    """

    def __init__(self, run: Run, desk: Desk, approvals: Approvals) -> None:
        self.run = run
        self.desk = desk
        self.held_back = [step for step in run.steps if step.phase is Phase.AFTER_COMMIT]
        self._group = max((step.group for step in run.steps), default=0)
        self._approvals = approvals
        self._at_work: dict[int, asyncio.Task[Any] | None] = {}
        self._failed: dict[int, BaseException] = {}

    @property
    def at_work(self) -> bool:
        """Whether a step is at work."""
        return bool(self._at_work)

    async def strays(self) -> None:
        """Wait for the steps that the body has started and not waited for.

        Raises:
            BaseException: What the first of them that failed has raised.
        """
        strays = list(self._at_work)
        await workflow.wait_condition(lambda: not self._at_work)
        for number in strays:
            if number in self._failed:
                raise self._failed[number]

    async def settle(self) -> None:
        """Stop the steps that the body has left in flight, and wait until the outcome of each is known."""
        for task in list(self._at_work.values()):
            if task is not None:
                task.cancel()
        await workflow.wait_condition(lambda: not self._at_work)

    def boundary(self) -> None:
        """Checked before and after each step: does the saga still go forward?

        Raises:
            asyncio.CancelledError: A cancellation was asked for, even one that a step swallowed.
            ApplicationError: The deadline is over, or the saga has turned round before.
        """
        run = self.run
        if run.turned is not None:
            raise run.turned
        if run.forward:
            return
        if workflow.cancellation_reason() is not None and not run.finishes:
            raise asyncio.CancelledError(workflow.cancellation_reason() or "cancelled")
        if workflow.now() >= run.deadline:
            raise ApplicationError(
                f"the deadline of {run.definition.deadline} is over", type=DEADLINE, non_retryable=True
            )

    async def step(
        self,
        operation: Operation[Any, Any],
        request: BaseModel,
        *,
        pivot: bool = False,
        approval: Approval | None = None,
    ) -> Any:
        """One step; with an approval, which it uses up."""
        self.boundary()
        phase = Phase.FORWARD if self.run.forward else Phase.PIVOT if pivot else Phase.BODY
        task = None if approval is None else self._approvals.check(approval, operation, request)
        self._group += 1
        step = self._push(operation, request, phase, group=self._group)
        if task is not None:
            step.approval, task.used_by = task.id, step.number
        return await self.take(step)

    async def parallel(self, calls: Sequence[tuple[Operation[Any, Any], BaseModel]]) -> tuple[Any, ...]:
        """Several steps at once. When one fails the others are stopped and settled before it is raised."""
        self.boundary()
        phase = Phase.FORWARD if self.run.forward else Phase.BODY
        self._group += 1
        steps = [self._push(operation, request, phase, group=self._group) for operation, request in calls]
        running = [asyncio.ensure_future(self.take(step)) for step in steps]
        stopped = False
        try:
            if running:
                await workflow.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            stopped = True
        # What failed by itself, in the order of the calls; what fails below was stopped on its account.
        first = next((task for task in running if task.done() and (task.cancelled() or task.exception())), None)
        await freeze(running)
        if first is not None:
            first.result()
        self.boundary()
        if stopped and any(task.cancelled() or task.exception() for task in running):
            raise asyncio.CancelledError
        return tuple(task.result() for task in running)

    def after_commit(self, operation: Operation[Any, Any], request: BaseModel) -> None:
        """Hold an operation back until the saga has succeeded."""
        self.boundary()
        self.held_back.append(self._push(operation, request, Phase.AFTER_COMMIT, group=0))
        self.run.refresh()

    async def child(self, cls: type, request: Any, *, id: str | None, task_queue: str | None) -> Any:
        """One step that is a saga of its own."""
        self.boundary()
        kind = children.type_of(cls)
        self._group += 1
        step = Step(
            number=self.run.last + 1,
            group=self._group,
            operation=kind,
            summary=f"{kind} {id}" if id else kind,
            phase=Phase.FORWARD if self.run.forward else Phase.BODY,
            key=id or f"{workflow.info().workflow_id}/{self.run.last + 1}",
            request=request,
            child=kind,
            task_queue=task_queue,
            started_at=workflow.now(),
        )
        self.run.push_child(step, cls)
        return await self.take(step)

    def _push(self, operation: Operation[Any, Any], request: BaseModel, phase: Phase, *, group: int) -> Step:
        """Put a step on the stack: before it is scheduled, as data."""
        if not isinstance(request, operation.request):
            raise _invalid(f"{operation.name} takes a {operation.request.__name__}, not {request!r}")
        if operation.effect is Effect.IRREVERSIBLE and phase is Phase.BODY:
            raise _invalid(
                f"{operation.name} is IRREVERSIBLE and comes before the pivot: hold it back with after_commit"
            )
        try:
            key = operation.key_for(request, workflow_id=workflow.info().workflow_id)
        except ValueError as error:
            raise _invalid(f"{operation.name}: {error}") from error
        part = self.run.key_part
        if part is not None and operation.has_undo and quoted(part) not in key:
            raise _invalid(
                f"{operation.name}: its key {key!r} does not contain the event's, {part!r}, so another event would be "
                "given this one's result: build it from a field of the request that holds event.key"
            )
        step = Step(
            number=self.run.last + 1,
            group=group,
            operation=operation.name,
            summary=operation.summary_for(request),
            phase=phase,
            key=key,
            request=request,
            reads=operation.effect is Effect.READ,
            started_at=workflow.now(),
        )
        self.run.push(step, operation)
        return step

    async def take(self, step: Step) -> Any:
        """Carry one step out, known to be at work until its outcome is known."""
        self._at_work[step.number] = asyncio.current_task()
        try:
            return await (self._carry_out(step) if step.child is None else self._carry_out_child(step))
        except BaseException as error:  # kept for a body that forgot to wait for the step, and raised again
            self._failed[step.number] = error
            raise
        finally:
            del self._at_work[step.number]

    async def _carry_out(self, step: Step) -> Any:
        """Carry one step out, with a person's help where a machine cannot go on."""
        run = self.run
        operation = run.operation(step)
        while True:
            self.boundary()
            deadline = run.deadline
            budget = None if step.phase in _PARKS else deadline - workflow.now()
            doubtful = step.outcome is Outcome.UNKNOWN
            step.outcome = None
            run.refresh()
            handle = start_action(operation, step, run.token(step, persistent=budget is None), budget=budget)
            stopped = await settled(handle)
            error = self._learn(step, handle, doubtful=doubtful)
            failure = step.failure
            if error is None or failure is None:
                return self._stands(step)
            again = failure.reason == REASON_DEADLINE and deadline < run.deadline
            if in_doubt(operation, step) and (stopped or not again):
                # Whoever asks it to end meanwhile withdraws no question: what was done before is not undone past it.
                found = await shielded(self._find_out(step, error, stopped=stopped))
                return self._stands(found) if found is step else await self._carry_out(found)
            if stopped:
                raise asyncio.CancelledError from error  # however the step ended: it was asked to
            if again:
                continue  # the deadline stood still meanwhile: a sibling waited for a person, or a hold was on
            if not (failure.needs_person or step.phase in _PARKS):
                raise error
            decision = await self.desk.about_step(step, failure, undo=False)
            step, decision = await self._edit(step, decision)
            if decision.choice is not Choice.RETRY:
                self._heed(step, decision, error)
                return self._stands(step)

    def _heed(self, step: Step, decision: Decision, error: BaseException) -> None:
        """Do as a person has decided, who does not want the step tried again."""
        run = self.run
        match decision.choice:
            case Choice.UNWIND:
                run.turned = run.turned or error
                run.forward = False
                raise error
            case Choice.SKIP:
                step.skipped = True
                step.outcome, step.result = Outcome.REFUSED, None
            case Choice.SUPPLY:
                step.outcome = Outcome.DONE
                step.result = self.desk.answers.supplied(run.tasks[decision.task_id], decision)

    async def _find_out(self, step: Step, error: BaseException, *, stopped: bool) -> Step:
        """Find out what has become of a pivot that cannot be undone, with a person's help where no machine can.

        Returns:
            The step to go on with: this one, which stands; or the one that a person has put in its place.

        Raises:
            BaseException: What turns the saga round, for it did not happen, and never will.
        """
        while (failure := await find_out(self.run, step)) is not None:
            decision = await self.desk.about_step(step, failure, undo=False)
            edited, decision = await self._edit(step, decision)
            if edited is not step:
                return edited
            if decision.choice is not Choice.RETRY:
                self._heed(step, decision, error)
                return step
        if step.outcome is Outcome.DONE:
            return step
        if stopped or (workflow.cancellation_reason() is not None and not self.run.finishes):
            raise asyncio.CancelledError from error
        raise error

    async def _carry_out_child(self, step: Step) -> Any:
        """Carry a child saga out. It cannot be tried again: its keys are used up once it has undone itself."""
        run = self.run
        self.boundary()
        step.outcome = None
        run.refresh()
        cls = run.child(step)
        running = asyncio.ensure_future(children.carry_out(cls, step, run))
        stopped = await settled(running)
        step.ended_at = workflow.now()
        try:
            ended = running.result()
        except (FailureError, asyncio.CancelledError) as error:
            step.failure = children.failure_of(step, error)
            step.outcome, step.attempts = step.failure.outcome, 1
            run.refresh()
            if stopped:
                raise asyncio.CancelledError from error
            if step.phase is not Phase.FORWARD:
                raise
            await self._ask_about_child(step, step.failure, error)
            return self._stands(step)
        step.outcome, step.result, step.attempts = Outcome.DONE, ended.result, 1
        run.stood_still(ended.waited)
        self._take_over(step, cls, ended.held_back)
        return self._stands(step)

    async def _ask_about_child(self, step: Step, failure: FailureDetails, error: BaseException) -> None:
        """Where the saga cannot turn round by itself a person says what becomes of it without the child."""
        decision = await self.desk.about_child(step, failure)
        if decision.choice is Choice.UNWIND:
            self.run.turned = self.run.turned or error
            self.run.forward = False
            raise error
        step.skipped = True
        step.result = self.desk.answers.supplied(self.run.tasks[decision.task_id], decision)

    def _take_over(self, child: Step, cls: Any, held_back: Sequence[HeldBack]) -> None:
        """Hold back what a child has held back until its parent's commit."""
        for left in held_back:
            operation = operation_named(left.operation, cls.__saga__)
            if operation is None:
                raise UnreadableResult(
                    f"the child {child.key} leaves {left.operation!r} to this saga's commit, which no saga of this "
                    "worker uses. Fix: run workers of the version that wrote it; the run waits and nothing is lost."
                )
            step = Step(
                number=self.run.last + 1,
                group=0,
                operation=operation.name,
                summary=left.summary,
                phase=Phase.AFTER_COMMIT,
                key=left.key,
                request=TypeAdapter(operation.request).validate_python(left.request),
                task_queue=left.task_queue or child.task_queue,
                started_at=workflow.now(),
            )
            self.run.push(step, operation)
            self.held_back.append(step)

    async def _edit(self, step: Step, decision: Decision) -> tuple[Step, Decision]:
        """Where a person has edited the request: settle the original, then put the edited step in its place.

        As long as the original cannot be settled they are asked again; a plain ``retry`` means the same edits then,
        unless another run has had the original's effect.
        """
        edits = decision.edits
        while edits is not None and decision.choice is Choice.RETRY:
            failure = await shielded(settle_original(self.run, step))
            if failure is None:
                return replacement(self.run, step, edits), decision
            told = f"“{step.summary}” must have no effect before it is tried with other arguments, which fails"
            decision = await self.desk.about_step(step, failure, undo=False, told=told)
            shared = failure.reason == REASON_SHARED  # as it is it takes the other run's result
            edits = decision.edits or (None if shared else edits)
        return step, decision

    def _stands(self, step: Step) -> Any:
        """A step has its result: the pivot's makes the saga go forward only."""
        if step.phase is Phase.PIVOT:
            self.run.forward = True
        self.run.refresh()
        self.boundary()
        return step.result

    def _learn(self, step: Step, handle: workflow.ActivityHandle[Done[Any]], *, doubtful: bool) -> BaseException | None:
        """Write down what has become of a step whose activity is over. Returns its failure.

        Args:
            step: Which.
            handle: Of the activity.
            doubtful: An earlier activity of the step may have had its effect, whether or not this one has begun.
        """
        step.ended_at = workflow.now()
        try:
            done = handle.result()
        except (FailureError, asyncio.CancelledError) as error:
            failure = read_failure(step.operation, error)
            if isinstance(error, asyncio.CancelledError):  # before it was heard of: only the ledger knows
                failure = failure.model_copy(update={"kind": FailureKind.TIMEOUT, "reason": REASON_CANCELLED})
            if doubtful and failure.outcome is Outcome.NOT_STARTED:
                failure = failure.model_copy(update={"outcome": Outcome.UNKNOWN})
            ran_out = failure.kind is FailureKind.HELD and failure.reason == REASON_DEADLINE
            self._held_back(step, failure.held, ran_out=ran_out)
            step.outcome, step.failure, step.attempts = failure.outcome, failure, step.attempts + failure.attempts
            self.run.log.warning(
                Event.STEP_FAILED,
                **self.run.facts,
                step=step.number,
                operation=step.operation,
                kind=failure.kind.value,
                outcome=failure.outcome.value,
                reason=failure.reason,
            )
            self.run.refresh()
            return error
        self._held_back(step, done.held)
        step.outcome, step.result, step.attempts = Outcome.DONE, done.result, step.attempts + done.attempts
        step.failure = None
        return None

    def _held_back(self, step: Step, held: float, *, ran_out: bool = False) -> None:
        """Give the time back for which a hold was on: no hold turns a run round by itself.

        A step whose budget ran out meanwhile gets as much again as it has waited, so that a hold of days costs the
        history a handful of events.
        """
        if not held:
            return
        self.run.held_back(timedelta(seconds=held))
        if ran_out:
            self.run.grant(max(workflow.now() - step.started_at, _LEAST_BUDGET))


def _invalid(message: str) -> ApplicationError:
    return ApplicationError(message, type=INVALID, non_retryable=True)
