"""Tasks from outside of their runs: find them, read them, decide one, decide a group.

Found by the memo ``kit.tasks`` of open runs, which needs no worker and no search attribute. A search attribute of one's
own would have to be registered on every cluster before a saga may use it (a run that uses an unknown one fails its
workflow task for ever), and every upsert is billed; open runs are few, for a saga is short unless it is parked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from kit.errors import AlreadyUnderWay, DefinitionError
from kit.operate.service import Operating
from kit.worker.tasks import send
from kit.workflow import SUMMARY_QUERY, TASKS_MEMO, TASKS_QUERY, Choice, Decision, Notice, RunSummary, Task, TaskKind
from kit.workflow.grouping import (
    GROUP_WORKFLOW,
    MOST_TASKS,
    PATIENCE,
    GroupReport,
    GroupRequest,
    TaskRef,
    group_id,
)

OPEN: Final = "ExecutionStatus = 'Running'"

_NOTICES: Final = TypeAdapter(list[Notice])


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task that waits, and whose it is.

    Attributes:
        workflow_id: The run's workflow id.
        run_id: Which run of it.
        workflow_type: Its type.
        notice: What its memo tells of the task.
    """

    workflow_id: str
    run_id: str
    workflow_type: str
    notice: Notice

    def overdue(self, now: datetime) -> bool:
        """Whether it should have been answered by now."""
        return self.notice.due_at is not None and now >= self.notice.due_at

    @property
    def ref(self) -> TaskRef:
        """The task by its name."""
        return TaskRef(
            workflow_id=self.workflow_id, run_id=self.run_id, task_id=self.notice.id, digest=self.notice.digest
        )


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Open tasks with one fingerprint.

    Attributes:
        fingerprint: What they have in common.
        tasks: The tasks, oldest first.
    """

    fingerprint: str
    tasks: tuple[OpenTask, ...]

    @property
    def digest(self) -> str:
        """Of these tasks and what each of them asks: another one, or another question, makes another digest."""
        refs = sorted(task.ref.model_dump_json() for task in self.tasks)
        return hashlib.sha256("\n".join(refs).encode()).hexdigest()[:32]

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What every one of them offers."""
        return tuple(
            choice
            for choice in self.tasks[0].notice.choices
            if all(choice in task.notice.choices for task in self.tasks)
        )


async def open_tasks(
    client: Client,
    *,
    query: str | None = None,
    fingerprint: str | None = None,
    kind: TaskKind | None = None,
    owner: str | None = None,
    overdue_at: datetime | None = None,
) -> list[OpenTask]:
    """The tasks that wait, oldest first.

    Not guaranteed: that a task which was put or answered this very moment is seen so; the visibility store follows the
    runs with a delay. Whoever decides is told by the run itself.

    Args:
        client: A client with the kit's plugin.
        query: Only in runs that this visibility query finds, such as ``"WorkflowType = 'Checkout'"``.
        fingerprint: Only with this one.
        kind: Only of this kind.
        owner: Only of this owner.
        overdue_at: Only what is overdue then.

    Raises:
        RPCError: The server did not answer, or the query is none.
    """
    found: list[OpenTask] = []
    async for run in client.list_workflows(f"({query}) AND {OPEN}" if query else OPEN):
        for notice in _notices(await run.memo_value(TASKS_MEMO, [], type_hint=list[Any])):
            task = OpenTask(run.id, run.run_id, run.workflow_type, notice)
            if (
                fingerprint in (None, notice.fingerprint)
                and kind in (None, notice.kind)
                and owner in (None, notice.owner)
                and (overdue_at is None or task.overdue(overdue_at))
            ):
                found.append(task)
    return sorted(found, key=lambda task: (task.notice.opened_at, task.workflow_id, task.notice.id))


def _notices(memo: Any) -> list[Notice]:
    try:
        return _NOTICES.validate_python(memo)
    except ValidationError:  # another version's, or somebody else's memo of that name: its run is asked by name
        return []


def grouped(tasks: Iterable[OpenTask]) -> list[TaskGroup]:
    """The tasks by fingerprint, the largest group first."""
    groups: dict[str, list[OpenTask]] = {}
    for task in tasks:
        groups.setdefault(task.notice.fingerprint, []).append(task)
    made = [TaskGroup(fingerprint, tuple(each)) for fingerprint, each in groups.items()]
    return sorted(made, key=lambda group: (-len(group.tasks), group.fingerprint))


async def tasks_of(client: Client, workflow_id: str) -> tuple[list[Task], RunSummary]:
    """All tasks of a run in full, answered or not, and how the run stands. Needs a worker of the run.

    Raises:
        WorkflowQueryFailedError: The run is no saga.
        RPCError: There is no such run, or neither the server nor a worker did answer.
    """
    handle = client.get_workflow_handle(workflow_id)
    tasks: list[Task] = await handle.query(TASKS_QUERY, result_type=list[Task])
    summary: RunSummary = await handle.query(SUMMARY_QUERY, result_type=RunSummary)
    return tasks, summary


async def decide(client: Client, workflow_id: str, decision: Decision) -> Task:
    """Answer one task. Sending the same decision again is harmless. See `kit.worker.tasks.send`."""
    return await send(client, workflow_id, decision)


async def decide_group(
    operating: Operating,
    group: TaskGroup,
    choice: Choice,
    *,
    who: str,
    why: str,
    rate: float = 1.0,
    edits: dict[str, Any] | None = None,
    patience: timedelta = PATIENCE,
) -> WorkflowHandle[Any, GroupReport]:
    """Decide a group: the first alone, then, when it went through, the others at a rate.

    Durable: once started it goes on without the caller. There is one per fingerprint at a time.

    Args:
        operating: The service; its workers carry the decisions out.
        group: What is decided: exactly these tasks, as they were found. At most `MOST_TASKS` of them are taken.
        choice: What is decided.
        who: Who decides.
        why: And why.
        rate: Decisions per second.
        edits: As in `kit.Decision`.
        patience: How long the first is watched until it counts as not gone through.

    Returns:
        The workflow that does it; its result is the `GroupReport`.

    Raises:
        DefinitionError: Not every task of the group offers the choice, or each needs a result of its own.
        AlreadyUnderWay: This fingerprint is being decided. Nothing was started.
        ValidationError: The rate is not positive, or who or why is empty.
        RPCError: The server did not answer; whether it was started is unknown, and calling again is safe.
    """
    if choice is Choice.SUPPLY:
        raise DefinitionError(
            f"group {group.fingerprint!r}",
            rule="'supply' gives each task a result of its own",
            fix="decide its tasks one by one",
        )
    if choice not in group.choices:
        raise DefinitionError(
            f"group {group.fingerprint!r}",
            rule=f"not every task of it offers {choice.value!r}",
            fix=f"choose one of: {', '.join(group.choices) or 'nothing'}",
        )
    request = GroupRequest(
        fingerprint=group.fingerprint,
        tasks=tuple(task.ref for task in group.tasks[:MOST_TASKS]),
        choice=choice,
        who=who,
        why=why,
        edits=edits,
        rate=rate,
        patience=patience,
    )
    id = group_id(group.fingerprint)
    try:
        return await operating.client.start_workflow(
            GROUP_WORKFLOW,
            request,
            id=id,
            task_queue=operating.task_queue,
            result_type=GroupReport,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            static_summary=f"{choice.value} {len(request.tasks)} tasks: {group.fingerprint}",
            static_details=f"By {who}: {why}",
        )
    except WorkflowAlreadyStartedError as error:
        raise AlreadyUnderWay(f"the group {group.fingerprint!r}", workflow_id=id, run_id=error.run_id) from error
