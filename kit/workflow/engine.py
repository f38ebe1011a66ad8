"""The saga itself: going forward, turning round, and never leaving an effect whose fate is unknown.

The workflow's own ``run`` (the body) is run as a task of its own, and this module watches over it:

1. A step is on the stack, as data, before it is scheduled.
2. On any failure, cancellation or missed deadline: freeze, **settle every step in flight**, then undo by outcome:
   ``DONE`` and ``UNKNOWN`` are undone (the guard looks up the unknown), ``REFUSED`` and ``NOT_STARTED`` are skipped.
3. Steps are undone in reverse order, parallel siblings together. The undo is a task that no cancellation reaches.
   One undo that cannot end parks and does not keep the others waiting.
4. Once the pivot is done nothing turns round by itself any more: a cancellation comes too late, a failure parks,
   whether it is a step's or the body's own.

A cancellation reaches workflow code in three forms: wrapped in an ``ActivityError``, bare, or not at all (the step
completes and the cancellation is swallowed). The first two become a bare ``CancelledError`` where the step is awaited,
the third is found by `Stepper.boundary`; all lead to the same turn.

What turns a saga round is whatever would close the workflow: a Temporal failure, a timeout of ``asyncio``, a type that
the worker or the workflow declares as a failure. Anything else is a bug in workflow code: the workflow task fails, is
retried, and nothing is undone on its account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from kit.contract import FailureDetails, FailureKind, Outcome
from kit.errors import KitError, SagaUsageError
from kit.telemetry import Event
from kit.workflow.approving import Approvals
from kit.workflow.carrying import must_carry, pack, unpack
from kit.workflow.definition import SagaDefinition
from kit.workflow.parents import hand_up
from kit.workflow.people import Desk
from kit.workflow.run import Run
from kit.workflow.settling import shielded
from kit.workflow.stepping import Stepper
from kit.workflow.steps import Phase
from kit.workflow.story import RunSummary, Status
from kit.workflow.tasks import Choice, Task
from kit.workflow.telling import (
    RUN_TIMEOUT,
    close,
    closing_error,
    key_outputs,
    reason_of,
    summary,
    words_of,
)
from kit.workflow.undoing import undo_steps

T = TypeVar("T")


class Saga:
    """One run of a saga.

    Args:
        definition: What its class declares.
        result_type: The type of what its ``run`` returns.
    """

    def __init__(self, definition: SagaDefinition, *, result_type: Callable[[], Any] = lambda: Any) -> None:
        self.run = Run(definition)
        unpack(self.run)
        self.desk = Desk(self.run, result_type)
        self.approvals = Approvals(self.run, self.desk)
        self.steps = Stepper(self.run, self.desk, self.approvals)
        self._carrying = False

    # -- the run ---------------------------------------------------------------------------------------------------

    async def supervise(self, body: Callable[[], Awaitable[Any]]) -> Any:
        """Run the workflow's own code, then commit or turn round.

        Returns:
            What the body returned; of a child saga, with what it leaves to its parent's commit.

        Raises:
            ApplicationError: ``SagaCompensated`` (cause kept) or ``SagaResidue``, with the `RunSummary`.
            CancelledError: Cancelled, and nothing is left.
        """
        self.refuse_run_timeout()
        self.run.log.info(Event.RUN_STARTED, **self.run.facts)
        try:
            result = await self._watch(body)
            self.steps.boundary()
        except (Exception, asyncio.CancelledError) as error:  # what is no failure of the saga is raised again
            if not _turns_round(error):
                raise
            result = await shielded(self._went_wrong(error))
            if self.run.turned is not None:
                raise closing_error(self.run, self.run.turned) from self.run.turned
        self.run.forward = True
        await shielded(self._commit())
        self.run.key_outputs = key_outputs(result)
        close(self.run, Status.COMPLETED)
        if self.run.parent is not None:
            return hand_up(result, self.steps.held_back, waited=self.run.waited)
        return result

    async def _watch(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run the body; pass a cancellation on to it as long as it can still turn round."""
        task = asyncio.ensure_future(self._whole(body))
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                if workflow.cancellation_reason() is None:
                    raise  # nobody asked for it: the SDK evicts the run
                if not self.run.forward:
                    task.cancel()
        try:
            return task.result()
        except workflow.ContinueAsNewError as error:
            if self._carrying or not must_carry(self.run):
                raise
            raise SagaUsageError(
                "workflow.continue_as_new would forget the steps that must be undone or carried out after commit: use "
                "self.continue_as_new"
            ) from error

    async def _whole(self, body: Callable[[], Awaitable[T]]) -> T:
        """The body, and the steps it has started and not waited for."""
        result = await body()
        await self.steps.strays()
        return result

    async def _went_wrong(self, cause: BaseException) -> Any:
        """Turn round; or ask, where only a person may decide that. Returns the result that was supplied, if one was."""
        run = self.run
        if run.forward and run.turned is None:
            failure = FailureDetails(
                operation=workflow.info().workflow_type,
                kind=FailureKind.BUG,
                outcome=Outcome.UNKNOWN,
                reason=reason_of(cause),
                needs_person=True,
            )
            await self.steps.settle()
            decision = await self.desk.about_body(failure, words_of(cause))
            if decision.choice is Choice.SUPPLY:
                return self.desk.answers.supplied(run.tasks[decision.task_id], decision)
        run.turned = run.turned or cause
        run.forward = False
        run.status = Status.UNDOING
        run.reason = reason_of(run.turned)
        run.log.warning(Event.RUN_TURNED, **run.facts, reason=run.reason, cause=words_of(cause))
        run.refresh()
        await self.steps.settle()
        await undo_steps(run, self.desk, [step for step in run.steps if step.phase is not Phase.AFTER_COMMIT])
        return None

    async def _commit(self) -> None:
        """Carry out what was held back, each for itself; clear up what the body did not look after."""
        # The body may have caught a step's failure and gone on: what that step left open is settled here. Unless a
        # later step has had the very same effect: that one counts.
        live = {step.key for step in self.run.steps if step.outcome is Outcome.DONE}
        doubtful = [step for step in self.run.steps if step.outcome is Outcome.UNKNOWN and step.key not in live]
        await undo_steps(self.run, self.desk, doubtful)
        if self.steps.held_back and self.run.parent is None:
            self.run.status = Status.COMMITTED
            self.run.refresh()
            running = [asyncio.ensure_future(self.steps.take(step)) for step in self.steps.held_back]
            await workflow.wait(running)
            for task in running:
                task.result()

    def continue_as_new(self, request: Any) -> NoReturn:
        """Go on in a new run that knows the stack.

        Raises:
            SagaUsageError: A step is at work, a question is open, or there is too much to carry.
        """
        self.steps.boundary()
        if self.steps.at_work or any(task.open for task in self.run.tasks.values()):
            raise SagaUsageError("continue-as-new while a step is at work: wait for it first")
        memo = pack(self.run)
        self._carrying = True
        workflow.continue_as_new(request, memo=memo)

    def asking(self) -> Approvals:
        """Where the body asks people, as long as the saga goes forward.

        Raises:
            asyncio.CancelledError: As `Stepper.boundary`.
            ApplicationError: As `Stepper.boundary`.
        """
        self.steps.boundary()
        return self.approvals

    # -- operators -------------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> list[Task]:
        """All questions, answered or not."""
        return list(self.run.tasks.values())

    def summary(self) -> RunSummary:
        """How the run stands."""
        return summary(self.run)

    def refuse_run_timeout(self) -> None:
        """Refuse a run that could end without running any code.

        Raises:
            ApplicationError: ``SagaRunTimeout``.
        """
        info = workflow.info()
        timeout = info.run_timeout or info.execution_timeout
        if timeout:  # zero means none: so the command line and the UI say it
            raise ApplicationError(
                f"{info.workflow_type} was started with a run or execution timeout of {timeout}: when it is over no "
                f"code runs and nothing is undone. Fix: start it without; its deadline is "
                f"{self.run.definition.deadline}.",
                type=RUN_TIMEOUT,
                non_retryable=True,
            )


def _turns_round(error: BaseException) -> bool:
    """Whether an error would close the workflow, and so must turn it round first."""
    ours = isinstance(error, asyncio.CancelledError | ValidationError | KitError)
    return ours or workflow.is_failure_exception(error)
