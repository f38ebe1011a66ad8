"""Approvals and questions: a person is asked before something is done, or about what belongs to no step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from kit.contract import Operation, fingerprint
from kit.workflow.people import Desk, due_in
from kit.workflow.run import Run
from kit.workflow.tasks import EXPIRED, REJECTED, Approval, Choice, Decision, Task, TaskKind
from kit.workflow.telling import INVALID

DEFAULT_WITHIN: Final = timedelta(days=3)
"""How long an approval can be given and used, where nothing is said."""

VERDICTS: Final = (Choice.APPROVE, Choice.REJECT)


class Approvals:
    """Asks a run's questions that are no repairs, and lets each approval be used once.

    Args:
        run: The run.
        desk: Where they are put.
    """

    def __init__(self, run: Run, desk: Desk) -> None:
        self._run = run
        self._desk = desk

    async def approval(
        self,
        operation: Operation[Any, Any],
        request: BaseModel,
        *,
        question: str,
        within: timedelta,
        owner: str | None,
        remind: timedelta | None,
        runbook: str | None,
    ) -> Approval:
        """See `kit.SagaWorkflow.approval`."""
        if within <= timedelta(0):
            raise _invalid(f"an approval within={within!r} could never be given")
        definition = self._run.definition
        now = workflow.now()
        task = Task(
            id=self._id(TaskKind.APPROVAL),
            kind=TaskKind.APPROVAL,
            fingerprint=f"{operation.name}:{TaskKind.APPROVAL.value}",
            operation=operation.name,
            question=question,
            choices=VERDICTS,
            owner=owner or operation.owner,
            escalation=definition.escalation,
            runbook=runbook or operation.runbook,
            request=request.model_dump(mode="json"),
            digest=fingerprint(operation.name, request),
            opened_at=now,
            due_at=now + due_in(remind or operation.due or definition.due, within),
            expires_at=now + within,
        )
        try:
            decision = await self._desk.answer(task, remind=True)
        except TimeoutError as error:
            raise ApplicationError(
                f"Nobody has approved “{question}” within {within}.", type=EXPIRED, non_retryable=True
            ) from error
        if decision.choice is Choice.REJECT:
            raise ApplicationError(
                f"{decision.who} has rejected “{question}”: {decision.why}.", type=REJECTED, non_retryable=True
            )
        return Approval(
            task_id=task.id,
            operation=operation.name,
            digest=decision.digest or "",
            who=decision.who,
            why=decision.why,
            approved_at=task.decided_at or now,
            expires_at=now + within,
        )

    async def ask(
        self,
        question: str,
        *,
        choices: Sequence[Choice],
        about: str | None,
        owner: str | None,
        remind: timedelta | None,
        runbook: str | None,
    ) -> Decision:
        """See `kit.SagaWorkflow.ask`."""
        definition = self._run.definition
        now = workflow.now()
        about = about or workflow.info().workflow_type
        task = Task(
            id=self._id(TaskKind.QUESTION),
            kind=TaskKind.QUESTION,
            fingerprint=f"{about}:{TaskKind.QUESTION.value}",
            operation=about,
            question=question,
            choices=tuple(choices),
            owner=owner or definition.owner,
            escalation=definition.escalation,
            runbook=runbook or definition.runbook,
            opened_at=now,
            due_at=now + due_in(remind or definition.due),
        )
        return await self._desk.answer(task, remind=True)

    def check(self, approval: Approval, operation: Operation[Any, Any], request: BaseModel) -> Task:
        """Refuse an approval that does not fit what is to be done. Returns its task.

        Raises:
            ApplicationError: ``SagaApprovalExpired``; or ``SagaInvalidStep``: this run was not given it, it was given
                for another operation or other arguments, or it has been used.
        """
        task = self._run.tasks.get(approval.task_id)
        given = task.decision if task is not None and task.kind is TaskKind.APPROVAL else None
        if task is None or given is None or given.choice is not Choice.APPROVE or given.digest != approval.digest:
            raise _invalid(f"the approval {approval.task_id!r} was not given to this run")
        if fingerprint(operation.name, request) != approval.digest:
            raise _invalid(
                f"the approval {approval.task_id!r} of {approval.who} is for {approval.operation} with exactly "
                f"{task.request!r}, not for {operation.name} with {request!r}"
            )
        if task.used_by is not None:
            raise _invalid(
                f"the approval {approval.task_id!r} of {approval.who} was used by step {task.used_by}: it counts once"
            )
        expires_at = task.expires_at
        if expires_at is not None and workflow.now() >= expires_at:
            raise ApplicationError(
                f"The approval {approval.task_id!r} of {approval.who} expired at {expires_at.isoformat()}.",
                type=EXPIRED,
                non_retryable=True,
            )
        return task

    def _id(self, kind: TaskKind) -> str:
        """Never used again: not when a task is withdrawn, and not by a later run or another event of an entity."""
        self._run.asked += 1
        return f"{kind.value}-{self._run.asked}"


def _invalid(message: str) -> ApplicationError:
    return ApplicationError(message, type=INVALID, non_retryable=True)
