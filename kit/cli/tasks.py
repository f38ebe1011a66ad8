"""``kit tasks``: what waits for a person, in full, and the answers: one by one, or a group of equal questions."""

from __future__ import annotations

import asyncio
import getpass
import json as jsons
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter
from cyclopts.validators import Number
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError

from kit.cli import telling
from kit.cli.discovery import operating
from kit.errors import DecisionRefused, DefinitionError
from kit.operate import OpenTask, decide, decide_group, grouped, open_tasks, tasks_of
from kit.workflow import Choice, Decision, Task, TaskKind

tasks = App(name="tasks", help="List, show and decide what waits for a person.")

Flag = Parameter(negative="")
Positive = Annotated[float, Parameter(validator=Number(gt=0))]
T = TypeVar("T")

ANSWER: float = 30.0
"""Seconds that a command waits for a worker of the run."""


@tasks.command(name="list")
async def list_tasks(
    *,
    query: str | None = None,
    fingerprint: str | None = None,
    kind: TaskKind | None = None,
    owner: str | None = None,
    overdue: Annotated[bool, Flag] = False,
    groups: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """List the tasks that wait, oldest first. Needs no worker.

    Args:
        query: Only in runs that this visibility query finds, such as "WorkflowType = 'Checkout'".
        fingerprint: Only with this one: what equal questions have in common.
        kind: Only of this kind.
        owner: Only of this owner.
        overdue: Only what should have been answered by now.
        groups: One line for each fingerprint.
        json: Print one JSON document.
    """
    now = datetime.now(UTC)

    async def find(client: Client) -> list[OpenTask]:
        return await open_tasks(
            client, query=query, fingerprint=fingerprint, kind=kind, owner=owner, overdue_at=now if overdue else None
        )

    found = await _asked(find)
    if json:
        print(
            jsons.dumps(
                [telling.group_document(g, now) for g in grouped(found)]
                if groups
                else [telling.document(task, now) for task in found],
                indent=2,
            )
        )
    elif not found:
        print("No task is open.")
    elif groups:
        telling.table(telling.GROUP_HEAD, [telling.group_row(group, now) for group in grouped(found)])
    else:
        telling.table(telling.TASK_HEAD, [telling.row(task, now) for task in found])
    return 0


@tasks.command
async def show(workflow_id: str, task_id: str | None = None, /, *, json: Annotated[bool, Flag] = False) -> int:
    """Show the tasks of a run in full, and how the run stands. Needs a worker of the run.

    The exit code is 1 when there is no such task.

    Args:
        workflow_id: The run's workflow id.
        task_id: Only this one, also when it is answered; by default those that are open.
        json: Print one JSON document.
    """
    every, summary = await _asked(lambda client: tasks_of(client, workflow_id))
    shown = [task for task in every if (task.open if task_id is None else task.id == task_id)]
    if json:
        run = summary.model_dump(mode="json", exclude={"tasks"})
        print(jsons.dumps({"run": run, "tasks": [task.model_dump(mode="json") for task in shown]}, indent=2))
    else:
        for task in shown:
            print(telling.full(task, workflow_id))
        print(f"{workflow_id} ({summary.workflow_type}) is {telling.stands(summary)}.\n")
        telling.table(telling.STEP_HEAD, [telling.step_row(step) for step in summary.steps])
    if not shown:
        print(f"error: {workflow_id} has no {'open task' if task_id is None else f'task {task_id!r}'}", file=sys.stderr)
    return 0 if shown else 1


@tasks.command(name="decide")
async def decide_tasks(
    choice: Choice,
    workflow_id: str | None = None,
    task_id: str | None = None,
    /,
    *,
    why: str,
    who: str | None = None,
    result: str | None = None,
    edit: tuple[str, ...] = (),
    digest: str | None = None,
    group: str | None = None,
    query: str | None = None,
    rate: Positive = 1.0,
    patience: Positive = 300.0,
    yes: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Answer one task, or a group of equal ones. Sending the same answer again is harmless.

    A group is only counted without ``--yes``. With it the oldest goes alone; when that has gone through the others
    follow. The exit code is 1 when a run has not taken the decision, or a group was stopped.

    Args:
        choice: What is decided.
        workflow_id: The run's workflow id; not with --group.
        task_id: The task; may be left out when the run has one open task.
        why: Why: it is kept in the history and in the ledger.
        who: Who decides; by default the user of this computer.
        result: What was done by hand, as JSON, for supply.
        edit: A new value for a field, for retry, as in note=text; a value that is JSON is read as JSON.
        digest: What is approved, as "kit tasks show" prints it, or the count of a group; the first eight characters
            are enough.
        group: Every open task with this fingerprint, instead of one.
        query: The group's tasks only in runs that this visibility query finds.
        rate: Decisions per second, for a group.
        patience: Seconds to watch the first of a group.
        yes: Decide the group.
        json: Print one JSON document.
    """
    who = who or getpass.getuser()
    edits = _edits(edit)
    if (group is None) == (workflow_id is None):
        raise DefinitionError(
            "kit tasks decide",
            rule=f"the workflow id is {workflow_id!r} and --group {group!r}",
            fix="name one run, or one group",
        )
    if workflow_id is not None:
        decision = Decision(
            task_id=task_id or "", choice=choice, who=who, why=why, result=_json(result), edits=edits, digest=digest
        )
        return await _decide_one(workflow_id, decision, json=json)
    if result is not None:
        raise DefinitionError(
            "kit tasks decide --group", rule="a result is one task's own", fix="decide its tasks one by one"
        )
    async with operating() as service:
        found = grouped(await _answered(open_tasks(service.client, query=query, fingerprint=group)))
        if not found:
            print(jsons.dumps(None) if json else f"No task with the fingerprint {group!r} is open.")
            return 0
        chosen = found[0]
        if not yes:
            print(
                jsons.dumps(telling.group_document(chosen, datetime.now(UTC)), indent=2)
                if json
                else telling.plan(chosen, choice, rate)
            )
            return 0
        if choice is Choice.APPROVE and not _seen(digest, chosen.digest):
            print(
                f"refused: approving a group needs the digest that its count prints; it is {chosen.digest} now, with "
                f"{len(chosen.tasks)} tasks: look at them again",
                file=sys.stderr,
            )
            return 1
        handle = await _answered(
            decide_group(
                service, chosen, choice, who=who, why=why, rate=rate, edits=edits, patience=timedelta(seconds=patience)
            )
        )
        if not json:
            print(f"The workflow {handle.id!r} decides them, also when this command is stopped.", file=sys.stderr)
        report = await handle.result()
    print(report.model_dump_json(indent=2) if json else telling.ended(report))
    return 0 if report.decided == report.tasks else 1


async def _decide_one(workflow_id: str, decision: Decision, *, json: bool) -> int:
    async def send(client: Client) -> Task:
        every, _ = await tasks_of(client, workflow_id)
        ready = _completed(workflow_id, decision, every)
        return await decide(client, workflow_id, ready)

    try:
        decided = await _asked(send)
    except DecisionRefused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return 1
    print(
        decided.model_dump_json(indent=2) if json else f"Task {decided.id} of {workflow_id}: {decision.choice.value}."
    )
    return 0


def _completed(workflow_id: str, decision: Decision, every: Sequence[Task]) -> Decision:
    """The decision with what a person need not type: the only open task's id, the rest of a digest."""
    task_id = decision.task_id
    waiting = [task for task in every if task.open]
    if not task_id:
        if len(waiting) != 1:
            listed = ", ".join(task.id for task in waiting) or "none"
            raise DecisionRefused(f"{workflow_id} has {len(waiting)} open tasks ({listed}): name the task")
        task_id = waiting[0].id
    seen, known = decision.digest, next((task.digest for task in every if task.id == task_id), None)
    if known is not None and _seen(seen, known):
        seen = known
    return decision.model_copy(update={"task_id": task_id, "digest": seen})


def _seen(digest: str | None, known: str) -> bool:
    """Whether somebody has typed enough of a digest."""
    return digest is not None and len(digest) >= telling.SHORTEST_DIGEST and known.startswith(digest)


# -- asking ------------------------------------------------------------------------------------------------------------


async def _asked(ask: Callable[[Client], Awaitable[T]]) -> T:
    """What the server and the run's workers answer."""
    async with operating() as service:
        return await _answered(ask(service.client))


async def _answered(answer: Awaitable[T]) -> T:
    """An answer, or in a sentence why there is none.

    Raises:
        DefinitionError: The server or a worker did not answer, or there is nothing to ask.
    """
    try:
        async with asyncio.timeout(ANSWER):
            return await answer
    except TimeoutError as error:
        raise DefinitionError(
            "the run",
            rule=f"no worker of it has answered within {ANSWER:.0f} s",
            fix="see that its workers are up, and send the same again: it counts once",
        ) from error
    except (RPCError, WorkflowQueryFailedError) as error:
        raise DefinitionError(
            "the server", rule=f"it says: {error}", fix="check the workflow id, the query and that workers are up"
        ) from error


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return jsons.loads(text)
    except ValueError as error:
        raise DefinitionError(
            "--result", rule=f"{text!r} is no JSON: {error}", fix='write e.g. \'{"id": "7"}\''
        ) from error


def _edits(given: Sequence[str]) -> dict[str, Any] | None:
    edits: dict[str, Any] = {}
    for each in given:
        field, equals, value = each.partition("=")
        if not (field and equals):
            raise DefinitionError("--edit", rule=f"{each!r} is no assignment", fix="write field=value")
        try:
            edits[field] = jsons.loads(value)
        except ValueError:
            edits[field] = value
    return edits or None
