"""What one run of a saga knows of itself: its steps, its questions, its clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

from kit.contract import Operation, Token
from kit.telemetry import CORRELATION_MEMO, workflow_log
from kit.workflow.definition import SagaDefinition, result_of
from kit.workflow.parents import parent
from kit.workflow.steps import Phase, Step
from kit.workflow.story import Status, details
from kit.workflow.tasks import Task


class Run:
    """One run of a saga, as data.

    Attributes:
        definition: What its class declares.
        steps: The stack, oldest first: every step is on it before it is scheduled.
        tasks: The questions to people, by id.
        status: How it stands.
        reason: Why it turned round.
        forward: It only goes forward: the pivot is done, or the body is.
        turned: What turned it round.
        key_outputs: What its result says in public.
        last: The number of the last step.
        asked: How many questions it has put that belong to no step. Carried from run to run, as ``last`` is: an answer
            to an earlier question must not fit a later one.
        waited: How long it has waited for people, and for the end of holds.
        parent: The saga that has started it as its child.
        misfits: Answers that came by signal and did not fit, the last ones.
        tenant: Whose run it is; empty for nobody's.
        about: What it is about, for every log event: an entity's event.
        finishes: A cancellation does not turn it round: an entity finishes the event at work.
        key_part: What the key of each of its effects must contain; the key of an entity's event.
    """

    def __init__(self, definition: SagaDefinition) -> None:
        self.definition = definition
        self.steps: list[Step] = []
        self.tasks: dict[str, Task] = {}
        self.status = Status.RUNNING
        self.reason: str | None = None
        self.forward = False
        self.turned: BaseException | None = None
        self.key_outputs: dict[str, Any] = {}
        self.misfits: list[str] = []
        self.tenant = ""
        self.started_at = workflow.now()
        self.log = workflow_log()
        info = workflow.info()
        self.correlation_id = str(workflow.memo_value(CORRELATION_MEMO, info.workflow_id, type_hint=str))
        self.last = 0
        self.asked = 0
        self.waited = timedelta(0)
        self.parent = parent()
        self.about: dict[str, Any] = {}
        self.finishes = False
        self.key_part: str | None = None
        self._operations: dict[str, Operation[Any, Any]] = {}
        self._children: dict[int, type] = {}
        self._deadline = self.started_at + definition.deadline
        if self.parent is not None and self.parent.deadline is not None:
            self._deadline = min(self._deadline, self.parent.deadline)
        self._stopped_at: datetime | None = None
        self._counted = self.started_at  # until when time that stood still is counted, so that none is counted twice

    def push(self, step: Step, operation: Operation[Any, Any]) -> None:
        """Put a step on the stack."""
        self._operations[operation.name] = operation
        self.steps.append(step)
        self.last = max(self.last, step.number)

    def push_child(self, step: Step, cls: type) -> None:
        """Put a child saga on the stack."""
        self._children[step.number] = cls
        self.steps.append(step)
        self.last = max(self.last, step.number)

    def child(self, step: Step) -> type:
        """The class of a child saga that this run has started."""
        return self._children[step.number]

    def take_up(self, *, last: int, asked: int, started_at: datetime, deadline: datetime, waited: timedelta) -> None:
        """Go on where the run before this one stopped: its clock and its numbers."""
        self.last, self.asked = last, asked
        self.started_at, self._deadline, self.waited = started_at, deadline, waited

    def result_type(self, step: Step) -> Any:
        """The type of a step's result."""
        return self.operation(step).result if step.child is None else result_of(self.child(step))

    def operation(self, step: Step) -> Operation[Any, Any]:
        """The operation of a step."""
        return self._operations[step.operation]

    @property
    def facts(self) -> dict[str, Any]:
        """What every log event says."""
        return {"correlation_id": self.correlation_id, **self.about}

    def token(self, step: Step, *, persistent: bool) -> Token:
        """What a step's activity receives besides its request."""
        info = workflow.info()
        return Token(
            key=step.key,
            correlation_id=self.correlation_id,
            workflow_id=info.workflow_id,
            run_id=info.first_execution_run_id,
            step=step.number,
            persistent=persistent,
            tenant=self.tenant,
            opens=info.continued_run_id is None and step.group == self.steps[0].group,
            after_commit=step.phase is Phase.AFTER_COMMIT,
        )

    # -- the clock -------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> datetime:
        """When the budget is used up, from now on; it does not run while somebody is asked, or a step is held."""
        return self._deadline + (workflow.now() - self._stopped_at if self._stopped_at else timedelta(0))

    def keep_time(self) -> None:
        """Stop the deadline when the first question is open, and let it run again after the last."""
        asked = any(task.open for task in self.tasks.values())
        if asked and self._stopped_at is None:
            self._stopped_at = workflow.now()
        elif not asked and self._stopped_at is not None:
            self.waited += workflow.now() - self._stopped_at
            self._deadline, self._stopped_at = self.deadline, None
            self._counted = workflow.now()

    def held_back(self, held: timedelta) -> None:
        """A step was held for so long until now: that is no time of the budget. What siblings share counts once."""
        until = self._stopped_at or workflow.now()
        began = max(until - held, self._counted)
        if began < until:
            self.waited += until - began
            self._deadline += until - began
            self._counted = until

    def grant(self, budget: timedelta) -> None:
        """Let at least so much be left of the budget."""
        self._deadline = max(self._deadline, workflow.now() + budget)

    def stood_still(self, waited: timedelta) -> None:
        """A child has waited for people so long: that is no time of this run's budget either."""
        self.waited += waited
        if self._stopped_at is None:  # else its own question has stopped the clock already
            self._deadline += waited

    # -- what operators see ----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show how it stands: the current details of the Temporal UI."""
        workflow.set_current_details(
            details(
                status=self.status,
                owner=self.definition.owner,
                runbook=self.definition.runbook,
                reason=self.reason,
                steps=self.steps,
                tasks=self.tasks.values(),
                misfits=self.misfits,
            )
        )
