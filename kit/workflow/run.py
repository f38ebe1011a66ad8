"""What one run of a saga knows of itself: its steps, its questions, its clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

from kit.contract import Operation, Token
from kit.telemetry import CORRELATION_MEMO, workflow_log
from kit.workflow.definition import SagaDefinition
from kit.workflow.steps import Step
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
        self.started_at = workflow.now()
        self.log = workflow_log()
        info = workflow.info()
        self.correlation_id = str(workflow.memo_value(CORRELATION_MEMO, info.workflow_id, type_hint=str))
        self._operations: dict[str, Operation[Any, Any]] = {}
        self._deadline = self.started_at + definition.deadline
        self._stopped_at: datetime | None = None

    def push(self, step: Step, operation: Operation[Any, Any]) -> None:
        """Put a step on the stack."""
        self._operations[operation.name] = operation
        self.steps.append(step)

    def operation(self, step: Step) -> Operation[Any, Any]:
        """The operation of a step."""
        return self._operations[step.operation]

    @property
    def facts(self) -> dict[str, Any]:
        """What every log event says."""
        return {"correlation_id": self.correlation_id}

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
        )

    # -- the clock -------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> datetime:
        """When the budget is used up, if nobody is asked from now on. It does not run while somebody is."""
        return self._deadline + (workflow.now() - self._stopped_at if self._stopped_at else timedelta(0))

    def keep_time(self) -> None:
        """Stop the deadline when the first question is open, and let it run again after the last."""
        asked = any(task.open for task in self.tasks.values())
        if asked and self._stopped_at is None:
            self._stopped_at = workflow.now()
        elif not asked and self._stopped_at is not None:
            self._deadline, self._stopped_at = self.deadline, None

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
            )
        )
