"""The `kit tasks` command, typed by an operator while the service is at work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from kit import Choice
from kit.cli.main import run
from kit.operate import Operating, decide_group, grouped, open_tasks
from tests.cli.conftest import WriteService
from tests.harness import Running, running
from tests.workflow.approvals import Asks
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import Ask, World, declined

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

DECLINED = "card.charge:action:declined"
TABLE = '[tool.kit]\napp = "service:app"\n'
CODE = """
from contextlib import asynccontextmanager
from temporalio.client import Client
from kit.ledger import MemoryLedger
from kit.operate import Operating
from kit.worker import ReliabilityPlugin

class App:
    async def work(self):
        return 0

    @asynccontextmanager
    async def operating(self):
        client = await Client.connect("{address}", plugins=[ReliabilityPlugin()])
        yield Operating(client=client, ledger=MemoryLedger(), task_queue="{queue}")

app = App()
"""


@dataclass
class Desk:
    """An operator at their command line, in the folder of a service that is at work."""

    world: World
    worker: Running
    screen: pytest.CaptureFixture[str]

    async def type(self, *words: str) -> tuple[int, str, str]:
        """One command: its exit code, what it printed, and its complaints."""
        self.screen.readouterr()
        code = await asyncio.to_thread(run, ["tasks", *words])
        printed = self.screen.readouterr()
        return code, printed.out, printed.err

    async def park(self, *names: str) -> list[str]:
        """Let runs park, one after the other; returns their workflow ids, oldest first."""
        ids = []
        for name in names:
            started = await self.worker.start(
                Travel.run, Plan(id=name, lines=("pivot car", "step card")), id=f"{name}-{self.worker.task_queue}"
            )
            ids.append(started.id)
            await self.until(len(ids))
        return ids

    @property
    def query(self) -> str:
        """Finds the runs of this test only."""
        return f"TaskQueue = '{self.worker.task_queue}'"

    async def until(self, number: int) -> None:
        """Wait until so many tasks are to be seen."""
        for _ in range(400):
            if len(await open_tasks(self.worker.client, query=self.query)) == number:
                return
            await asyncio.sleep(0.05)  # visibility follows the runs with a delay, and tells nobody
        raise AssertionError(f"{number} tasks were never to be seen")


@asynccontextmanager
async def _at_desk(
    server: WorkflowEnvironment,
    write_service: WriteService,
    monkeypatch: pytest.MonkeyPatch,
    screen: pytest.CaptureFixture[str],
) -> AsyncIterator[Desk]:
    world = World()
    async with running(server, world.plugin, [Travel, Asks]) as worker:
        address = server.client.service_client.config.target_host
        code = CODE.format(address=address, queue=worker.task_queue)
        folder: Path = write_service(TABLE, code)
        monkeypatch.chdir(folder)
        yield Desk(world, worker, screen)


async def test_tasks_are_listed_shown_and_decided(
    server: WorkflowEnvironment,
    write_service: WriteService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the list to the whole task to the answer, in words and as JSON; what is refused is an exit code of 1."""
    async with _at_desk(server, write_service, monkeypatch, capsys) as desk:
        desk.world.provider.script("card.charge", declined())
        (trip,) = await desk.park("a")
        listed = await desk.type("list", "--query", desk.query)
        document = await desk.type("list", "--query", desk.query, "--json")
        shown = await desk.type("show", trip)
        refused = await desk.type("decide", "skip", trip, "2-1", "--why", "I looked")
        decided = await desk.type("decide", "retry", trip, "--who", "ada", "--why", "another card", "--edit", "note=b")
        await desk.worker.client.get_workflow_handle(trip).result()
        again = await desk.type(
            "decide", "retry", trip, "2-1", "--who", "ada", "--why", "another card", "--edit", "note=b"
        )
        other = await desk.type("decide", "unwind", trip, "2-1", "--why", "too late")
        after = await desk.type("show", trip, "2-1", "--json")
        await desk.until(0)
        nothing = await desk.type("list", "--query", desk.query)
        unknown = await desk.type("show", trip)

    assert listed[0] == 0
    assert listed[1].splitlines()[0].split() == ["WORKFLOW", "TASK", "ASKED", "(UTC)", "DUE", "OWNER", "FINGERPRINT"]
    assert [listed[1].splitlines()[1].split()[place] for place in (0, 1, -2, -1)] == [
        trip,
        "2-1",
        "travel-team",
        DECLINED,
    ]
    assert json.loads(document[1])[0]["question"].startswith("The step “Charge the card of a” cannot go on by itself")
    assert shown[0] == 0
    assert "  editable   note\n" in shown[1]
    assert f'  decide     kit tasks decide retry {trip} 2-1 --why "..."\n' in shown[1]
    assert f"{trip} (Travel) is parked: it waits for a person." in shown[1]
    assert (refused[0], refused[2]) == (1, "refused: 'skip' is not offered; one of retry, supply, unwind\n")
    assert decided[:2] == (0, f"Task 2-1 of {trip}: retry.\n")
    assert desk.world.provider.live == {"car:a": 1, "card:a:edit-2": 1}
    assert again == decided
    assert (other[0], other[2]) == (1, "refused: the run is closed: nobody is asked any more\n")
    assert json.loads(after[1])["tasks"][0]["decision"]["who"] == "ada"
    assert nothing[:2] == (0, "No task is open.\n")
    assert (unknown[0], unknown[2]) == (1, f"error: {trip} has no open task\n")


async def test_an_approval_needs_the_digest_that_was_shown(
    server: WorkflowEnvironment,
    write_service: WriteService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The arguments and their digest are shown; without it nothing is approved, not in a group either."""
    async with _at_desk(server, write_service, monkeypatch, capsys) as desk:
        with server.with_time_skipping_disabled():
            asks = await desk.worker.start(Asks.run, Ask(id="1"))
        await desk.until(1)
        shown = await desk.type("show", asks.id)
        (digest,) = (line.split()[1] for line in shown[1].splitlines() if line.startswith("  digest "))
        blind = await desk.type("decide", "approve", asks.id, "--why", "I trust them")
        group = ("decide", "approve", "--group", "card.charge:approval", "--query", desk.query, "--why", "I looked")
        plan = await desk.type(*group)
        stale = await desk.type(*group, "--yes", "--digest", digest)
        (known,) = (
            line.split()[7].strip(";") for line in plan[1].splitlines() if line.startswith("The digest of all ")
        )
        seen = await desk.type(*group, "--yes", "--digest", known[:8])
        await asks.result()

    assert '  arguments  {"id": "1", "note": "100 EUR"}\n' in shown[1]
    assert blind[0] == 1
    assert blind[2].startswith("refused: an approval needs the digest of what it approves")
    assert (stale[0], stale[2].partition(";")[0]) == (
        1,
        "refused: approving a group needs the digest that its count prints",
    )
    assert seen[:2] == (0, "1 of 1 decided.\n")
    assert desk.world.provider.live == {"card:1": 1, "flight:1": 1}


async def test_a_group_is_counted_before_it_is_decided(
    server: WorkflowEnvironment,
    write_service: WriteService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without ``--yes`` nothing is decided; with it the oldest goes first; while it is under way nobody else may."""
    async with _at_desk(server, write_service, monkeypatch, capsys) as desk:
        desk.world.provider.script("card.charge", declined(), declined())
        first, second = await desk.park("a", "b")
        groups = await desk.type("list", "--query", desk.query, "--groups")
        words = ("decide", "retry", "--group", DECLINED, "--query", desk.query, "--why", "the bank is back")
        plan = await desk.type(*words)
        (group,) = grouped(await open_tasks(desk.worker.client, query=desk.query))
        nobody = Operating(client=desk.worker.client, ledger=desk.world.ledger, task_queue="nobody-is-here")
        other = await decide_group(nobody, group, Choice.RETRY, who="bob", why="me first")
        busy = await desk.type(*words, "--yes")
        await other.terminate()
        done = await desk.type(*words, "--yes", "--rate", "100")
        await desk.until(0)
        nothing = await desk.type(*words, "--yes")

    assert groups[1].splitlines()[1].split()[:3] == [DECLINED, "2", "0"]
    assert plan == (
        0,
        f"2 of 2 open tasks with the fingerprint {DECLINED}: retry.\n"
        f"First alone: task 2-1 of {first}, the oldest. When it has gone through 1 more follow at 1 per second, "
        "which takes 0:00:01.\nNothing has been decided. Add --yes to do it.\n",
        "",
    )
    assert (busy[0], busy[1]) == (2, "")
    assert f"the group '{DECLINED}' is being decided already" in busy[2]
    assert done[:2] == (0, "2 of 2 decided.\n")
    assert desk.world.provider.live == {"car:a": 1, "car:b": 1, "card:a": 1, "card:b": 1}
    assert nothing[:2] == (0, f"No task with the fingerprint '{DECLINED}' is open.\n")
    assert second != first


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("decide", "retry", "--why", "x"),
            "workflow id is None and --group None. Fix: name one run, or one group",
        ),
        (("decide", "retry", "a", "--group", "b", "--why", "x"), "the workflow id is 'a' and --group 'b'"),
        (("decide", "retry", "a", "--why", "x", "--edit", "note"), "'note' is no assignment. Fix: write field=value"),
        (("decide", "supply", "a", "--why", "x", "--result", "{"), "'{' is no JSON"),
        (("decide", "retry", "--group", "b", "--why", "x", "--result", "1"), "a result is one task's own"),
    ],
)
async def test_what_makes_no_sense_is_an_exit_code_of_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    """A command that could not begin says which rule it broke and what to write."""
    code = await asyncio.to_thread(run, ["tasks", *words])

    assert code == 2
    assert told in capsys.readouterr().err
