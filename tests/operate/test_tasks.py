"""Tasks from outside of their runs: found without a worker, decided one by one and in groups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from kit import Choice, Decision, DefinitionError
from kit.errors import AlreadyUnderWay, DecisionRefused
from kit.operate import OpenTask, Operating, TaskGroup, decide, decide_group, grouped, open_tasks, tasks_of
from kit.workflow import TaskKind
from kit.workflow.grouping import GroupReport, Trial
from tests.harness import Running, running
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import Gate, World, bug, declined, held

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

DECLINED = "card.charge:action:declined"
NOW = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class Agency:
    """A service whose runs park, and its operator."""

    world: World
    worker: Running

    @property
    def operating(self) -> Operating:
        """What the operator works on."""
        return Operating(client=self.worker.client, ledger=self.world.ledger, task_queue=self.worker.task_queue)

    @property
    def query(self) -> str:
        """Finds the runs of this test only."""
        return f"TaskQueue = '{self.worker.task_queue}'"

    async def start(self, *names: str) -> list[WorkflowHandle[Any, Any]]:
        """Start a run for each name: it charges the card after the pivot."""
        return [
            await self.worker.start(
                Travel.run, Plan(id=name, lines=("pivot car", "step card")), id=f"{name}-{self.worker.task_queue}"
            )
            for name in names
        ]

    async def parked(self, number: int) -> list[OpenTask]:
        """The open tasks, once there are so many: visibility follows the runs with a delay."""
        for _ in range(400):
            if len(found := await open_tasks(self.worker.client, query=self.query)) == number:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{number} tasks were never to be seen")

    async def group(self, number: int) -> TaskGroup:
        """The one group of so many open tasks."""
        (found,) = grouped(await self.parked(number))
        return found


@asynccontextmanager
async def agency(server: WorkflowEnvironment, world: World, *, task_queue: str | None = None) -> AsyncIterator[Agency]:
    """A service at work."""
    async with running(server, world.plugin, [Travel], task_queue=task_queue) as worker:
        yield Agency(world, worker)


async def _group(agency: Agency, group: TaskGroup, choice: Choice = Choice.RETRY, **options: Any) -> GroupReport:
    handle = await decide_group(agency.operating, group, choice, who="ada", why="the bank is back", **options)
    report: GroupReport = await handle.result()
    return report


def _steps(group: TaskGroup) -> Sequence[str]:
    return [task.workflow_id.partition("-")[0] for task in group.tasks]


# --- finding ------------------------------------------------------------------------------------------------------


async def test_open_tasks_are_found_when_no_worker_is_left(server: WorkflowEnvironment) -> None:
    """The memo of a parked run says what is asked, of whom, and when it is due; groups say how many ask alike."""
    world = World()
    world.provider.script("card.charge", declined(), declined(), bug(), bug(), bug())

    async with agency(server, world) as shop:
        runs = []
        for number, name in enumerate(("a", "b", "c"), 1):
            runs += await shop.start(name)
            await shop.parked(number)
    tasks = await open_tasks(server.client, query=shop.query)
    groups = grouped(tasks)
    of_team = await open_tasks(server.client, query=shop.query, owner="nobody")
    approvals = await open_tasks(server.client, query=shop.query, kind=TaskKind.APPROVAL)
    overdue = await open_tasks(server.client, query=shop.query, overdue_at=NOW, fingerprint=DECLINED)
    for run in runs:
        await run.terminate()

    assert [task.workflow_id for task in tasks] == [run.id for run in runs]
    assert [(group.fingerprint, len(group.tasks)) for group in groups] == [(DECLINED, 2), ("card.charge:action:bug", 1)]
    notice = tasks[0].notice
    assert (notice.id, notice.owner, notice.choices) == (
        "2-1",
        "travel-team",
        (Choice.RETRY, Choice.SUPPLY, Choice.UNWIND),
    )
    assert notice.due_at == notice.opened_at + timedelta(days=1)
    assert (of_team, approvals) == ([], [])
    assert overdue == tasks[:2]


async def test_a_run_tells_everything_of_its_tasks(server: WorkflowEnvironment) -> None:
    """With a worker the whole task is read, and how the run stands; one that is decided is no more open."""
    world = World()
    world.provider.script("card.charge", declined())

    async with agency(server, world) as shop:
        (run,) = await shop.start("a")
        await shop.parked(1)
        (task,), summary = await tasks_of(shop.worker.client, run.id)
        decision = Decision(task_id=task.id, choice=Choice.RETRY, who="ada", why="x")
        decided = await decide(shop.worker.client, run.id, decision)
        await run.result()
        left = await shop.parked(0)

    assert task.question.startswith("The step “Charge the card of a” cannot go on by itself: declined")
    assert summary.parked
    assert decided.decision == decision
    assert left == []


async def test_a_run_that_does_not_take_a_decision_says_why(server: WorkflowEnvironment) -> None:
    """What does not fit is refused in the run's words, a closed run in ours, an unknown one in the server's."""
    world = World()
    world.provider.script("card.charge", declined())
    decision = Decision(task_id="2-1", choice=Choice.SKIP, who="ada", why="x")

    async with agency(server, world) as shop:
        (run,) = await shop.start("a")
        await shop.parked(1)
        with pytest.raises(DecisionRefused) as unfit:
            await decide(shop.worker.client, run.id, decision)
        await run.terminate()
        with pytest.raises(DecisionRefused) as closed:
            await decide(shop.worker.client, run.id, decision)
        with pytest.raises(DecisionRefused) as unknown:
            await decide(shop.worker.client, "no-such-run", decision)

    assert str(unfit.value) == "'skip' is not offered; one of retry, supply, unwind"
    assert str(closed.value) == "the run is closed: nobody is asked any more"
    assert "not found" in str(unknown.value)


# --- groups -------------------------------------------------------------------------------------------------------


async def test_a_group_follows_its_first(server: WorkflowEnvironment) -> None:
    """The oldest goes alone; when it has gone through the others follow, and every run ends well."""
    world = World()
    world.provider.script("card.charge", declined(), declined(), declined())

    async with agency(server, world) as shop:
        runs = await shop.start("a", "b", "c")
        group = await shop.group(3)
        report = await _group(shop, group, rate=100)
        for run in runs:
            await run.result()

    assert (report.tasks, report.decided, report.declined, report.stopped) == (3, 3, (), None)
    assert (report.first, report.trial) == (group.tasks[0].ref, Trial.THROUGH)
    assert {key: number for key, number in world.provider.live.items() if key.startswith("card")} == {
        "card:a": 1,
        "card:b": 1,
        "card:c": 1,
    }


async def test_a_first_that_fails_again_keeps_the_others_back(server: WorkflowEnvironment) -> None:
    """One more refusal, not a hundred: the group stops, and its tasks are open as before."""
    world = World()
    world.provider.always("card.charge", declined())

    async with agency(server, world) as shop:
        runs = await shop.start("a", "b", "c")
        group = await shop.group(3)
        calls = world.provider.calls["card.charge"]
        report = await _group(shop, group)
        again = await shop.group(3)
        for run in runs:
            await run.terminate()

    assert (report.decided, report.trial, report.stopped) == (1, Trial.AGAIN, "the first one failed again")
    assert world.provider.calls["card.charge"] == calls + 1
    assert sorted(_steps(again)) == ["a", "b", "c"]


async def test_a_first_that_takes_too_long_keeps_the_others_back(server: WorkflowEnvironment) -> None:
    """As long as nobody knows whether it went through, nothing else is decided."""
    world, gate = World(), Gate()
    world.provider.script("card.charge", declined(), declined(), held(gate))

    async with agency(server, world) as shop:
        runs = await shop.start("a", "b")
        report = await _group(shop, await shop.group(2), patience=timedelta(seconds=1))
        gate.open()
        for run in runs:
            if report.first is not None and run.id == report.first.workflow_id:
                await run.result()
            else:
                await run.terminate()

    assert report.decided == 1
    assert report.stopped == "the first one is still under way after 0:00:01"


async def test_what_is_being_decided_is_not_decided_again(server: WorkflowEnvironment) -> None:
    """While a group of a fingerprint is under way another one is refused; so is what cannot be decided alike."""
    world = World()
    world.provider.script("card.charge", declined())

    async with agency(server, world) as shop:
        (run,) = await shop.start("a")
        group = await shop.group(1)
        with pytest.raises(DefinitionError, match="'supply' gives each task a result of its own"):
            await decide_group(shop.operating, group, Choice.SUPPLY, who="ada", why="x")
        with pytest.raises(DefinitionError, match="not every task of it offers 'skip'"):
            await decide_group(shop.operating, group, Choice.SKIP, who="ada", why="x")
        operating = Operating(client=shop.worker.client, ledger=world.ledger, task_queue="nobody-is-here")
        first = await decide_group(operating, group, Choice.RETRY, who="ada", why="the bank is back")
        with pytest.raises(AlreadyUnderWay) as refused:
            await decide_group(shop.operating, group, Choice.UNWIND, who="bob", why="it is not")
        await first.terminate()
        await run.terminate()

    assert refused.value.workflow_id == f"decide:{DECLINED}"
    assert str(refused.value).startswith(f"the group '{DECLINED}' is being decided already")


async def test_a_task_that_is_taken_meanwhile_is_declined(server: WorkflowEnvironment) -> None:
    """Whoever was quicker counts, a closed run has no say, and the others go on."""
    world, gate = World(), Gate()
    world.provider.script("card.charge", *(declined() for _ in range(4)), held(gate))

    async with agency(server, world) as shop:
        runs = await shop.start("a", "b", "c", "d")
        group = await shop.group(4)
        quick, gone = group.tasks[0], group.tasks[2]
        await decide(
            shop.worker.client,
            quick.workflow_id,
            Decision(task_id=quick.notice.id, choice=Choice.RETRY, who="bob", why="mine"),
        )
        await gate.reached()
        await shop.worker.client.get_workflow_handle(gone.workflow_id).terminate()
        report = await _group(shop, group, rate=100)
        gate.open()
        for run in runs:
            if run.id != gone.workflow_id:
                await run.result()

    assert report.decided == 2
    assert report.first == group.tasks[1].ref
    assert [(each.task, each.why.partition(":")[0]) for each in report.declined] == [
        (quick.ref, "task '2-1' has been decided"),
        (gone.ref, "the run is closed"),
    ]


async def test_a_group_is_finished_by_whoever_comes_next(server: WorkflowEnvironment) -> None:
    """When every worker has died in the middle of it, the next one goes on, and no card is charged twice."""
    world, gate = World(), Gate()
    world.provider.script("card.charge", declined(), declined(), held(gate))

    async with agency(server, world) as shop:
        runs = await shop.start("a", "b")
        group = await shop.group(2)
        with server.with_time_skipping_disabled():
            handle = await decide_group(shop.operating, group, Choice.RETRY, who="ada", why="the bank is back")
        await gate.reached()
        gate.open()
    world.plugin = world.new_plugin()
    async with agency(server, world, task_queue=shop.worker.task_queue):
        report: GroupReport = await handle.result()
        for run in runs:
            await run.result()

    assert (report.decided, report.stopped) == (2, None)
    assert {key: number for key, number in world.provider.live.items() if key.startswith("card")} == {
        "card:a": 1,
        "card:b": 1,
    }
