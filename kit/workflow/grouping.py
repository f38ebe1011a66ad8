"""One decision for a group of tasks: the first alone, then, when it went through, the others at a rate.

A workflow, so that a decision that was begun is finished whatever becomes of whoever asked for it; and one per
fingerprint, by its workflow id, so that what is being decided is not decided at the same time once more.

What goes wrong between two lines, and what then:

- *the worker dies after a decision was taken, before that is known here*: it is sent again, word by word under the same
  id, and counts once.
- *a run has closed, or somebody else was quicker*: its task is refused, which is told in the report; the others go on.
- *the first fails again*: nothing else is decided.
- *this workflow is terminated*: what was decided stands, the other tasks are open; the next group takes them.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import Field
from temporalio import workflow
from temporalio.common import RetryPolicy

from kit.contract import Model
from kit.telemetry import Event, count, names, workflow_log
from kit.workflow.tasks import Choice, Decision

GROUP_WORKFLOW: Final = "kit.DecideGroup"
"""Type of the workflow that decides a group of tasks."""

DECIDE_ACTIVITY: Final = "kit.decide_task"
"""Name of the activity that sends one decision."""

LOOK_ACTIVITY: Final = "kit.look_at_task"
"""Name of the activity that looks what came of a decision."""

GROUP_QUERY: Final = "kit_group"
"""Name of the query that tells how far a group has come."""

MOST_TASKS: Final = 1000
"""How many tasks one group has at most: each costs eight events, and a history should stay below 10,000."""

PATIENCE: Final = timedelta(minutes=5)
"""How long the first task is watched, when nothing is said."""

_LOOK_EVERY: Final = timedelta(seconds=2)
_LONGEST_LOOK: Final = timedelta(seconds=30)

_TIMEOUT: Final = timedelta(seconds=30)
_RETRY: Final = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
"""As long as it takes: a decision waits for a worker of its run."""


def group_id(fingerprint: str) -> str:
    """The workflow id of the group of a fingerprint: there is at most one at a time."""
    return f"decide:{fingerprint}"


class TaskRef(Model):
    """One task of one run.

    Attributes:
        workflow_id: The run's workflow id.
        run_id: Which run of it.
        task_id: The task.
        digest: Of what is to be approved, as whoever asked for the decision has seen it.
    """

    workflow_id: str
    run_id: str
    task_id: str
    digest: str | None = None


class GroupRequest(Model):
    """Decide these tasks alike.

    Attributes:
        fingerprint: What they have in common.
        tasks: Which, in this order; the first goes alone.
        choice: What is decided.
        who: Who decides.
        why: And why.
        edits: As in `Decision`.
        rate: Decisions per second, after the first.
        patience: How long the first is watched until it counts as not gone through.
    """

    fingerprint: str = Field(min_length=1)
    tasks: tuple[TaskRef, ...] = Field(max_length=MOST_TASKS)
    choice: Choice
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    edits: dict[str, Any] | None = None
    rate: float = Field(gt=0, le=1000)
    patience: timedelta = PATIENCE

    def decision(self, task: TaskRef) -> Decision:
        """What is sent to one of them."""
        return Decision(
            task_id=task.task_id,
            choice=self.choice,
            who=self.who,
            why=self.why,
            edits=self.edits,
            digest=task.digest if self.choice is Choice.APPROVE else None,
        )


class Trial(StrEnum):
    """What came of a decision."""

    THROUGH = "through"
    """What was decided has worked."""
    AGAIN = "again"
    """It has failed again, or in another way."""
    GOING = "going"
    """It is under way."""


class Declined(Model):
    """A task that did not take its decision, and why."""

    task: TaskRef
    why: str


class GroupReport(Model):
    """How a group stands, and in the end what came of it.

    Attributes:
        fingerprint: Whose.
        tasks: How many it was given.
        decided: How many have taken the decision.
        declined: Those that have not, and why.
        first: The one that went alone.
        trial: What came of that one.
        stopped: Why the others were left alone; ``None`` when they were not.
    """

    fingerprint: str
    tasks: int
    decided: int = 0
    declined: tuple[Declined, ...] = ()
    first: TaskRef | None = None
    trial: Trial | None = None
    stopped: str | None = None


class LookRequest(Model):
    """What came of this decision?"""

    task: TaskRef
    fingerprint: str
    choice: Choice


@workflow.defn(name=GROUP_WORKFLOW)
class GroupWorkflow:
    """Decides a group of tasks. Started with the id `group_id`, on the task queue of the service whose they are."""

    @workflow.init
    def __init__(self, request: GroupRequest) -> None:
        self._request = request
        self._report = GroupReport(fingerprint=request.fingerprint, tasks=len(request.tasks))

    @workflow.run
    async def run(self, request: GroupRequest) -> GroupReport:
        """Decide them.

        Returns:
            What came of it. A group whose first task fails again is no failure of this workflow.
        """
        log = workflow_log()
        log.info(
            Event.GROUP_STARTED,
            fingerprint=request.fingerprint,
            tasks=len(request.tasks),
            who=request.who,
            choice=request.choice.value,
        )
        pause = timedelta(seconds=1 / request.rate)
        for place, task in enumerate(request.tasks):
            if place:
                await workflow.sleep(pause)
            taken = await self._decide(task)
            if taken and self._report.first is None and not await self._goes_through(task):
                break
        report = self._report
        log.info(
            Event.GROUP_ENDED,
            fingerprint=request.fingerprint,
            decided=report.decided,
            declined=len(report.declined),
            stopped=report.stopped,
        )
        count(workflow.metric_meter(), names.TASK_GROUPS, result="stopped" if report.stopped else "done")
        return report

    async def _decide(self, task: TaskRef) -> bool:
        """Send one decision. Returns whether it was taken."""
        refused: str | None = await workflow.execute_activity(
            DECIDE_ACTIVITY,
            args=[task, self._request.decision(task)],
            result_type=str | None,  # type: ignore[arg-type] # a union is a type to the converter
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
            summary=f"{self._request.choice.value} task {task.task_id} of {task.workflow_id}",
        )
        report = self._report
        if refused is None:
            self._report = report.model_copy(update={"decided": report.decided + 1})
        else:
            declined = (*report.declined, Declined(task=task, why=refused))
            self._report = report.model_copy(update={"declined": declined})
        return refused is None

    async def _goes_through(self, task: TaskRef) -> bool:
        """Watch the first one. Returns whether the others may follow."""
        request = self._request
        self._tell(first=task, trial=Trial.GOING)
        until, pause = workflow.now() + request.patience, _LOOK_EVERY
        ask = LookRequest(task=task, fingerprint=request.fingerprint, choice=request.choice)
        while True:
            trial = await workflow.execute_activity(
                LOOK_ACTIVITY,
                ask,
                result_type=Trial,
                start_to_close_timeout=_TIMEOUT,
                retry_policy=_RETRY,
                summary=f"What came of task {task.task_id} of {task.workflow_id}?",
            )
            self._tell(trial=trial)
            if trial is Trial.THROUGH:
                return True
            if trial is Trial.AGAIN:
                self._tell(stopped="the first one failed again")
                return False
            if workflow.now() >= until:
                self._tell(stopped=f"the first one is still under way after {request.patience}")
                return False
            await workflow.sleep(pause)
            pause = min(pause * 2, _LONGEST_LOOK)

    def _tell(self, **changes: Any) -> None:
        self._report = self._report.model_copy(update=changes)
        first = self._report.first
        workflow.set_current_details(
            f"{self._report.decided} of {self._report.tasks} decided by {self._request.who}: {self._request.why}\n\n"
            + (f"First: task `{first.task_id}` of `{first.workflow_id}`: {self._report.trial}" if first else "")
        )

    @workflow.query(name=GROUP_QUERY, description="How far this group has come.")
    def kit_group(self) -> GroupReport:
        """How far it has come."""
        return self._report
