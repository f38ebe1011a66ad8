"""The commands of "Unwind what a bad release did", typed into the real command line while the service is at work."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from temporalio.client import ScheduleActionExecutionStartWorkflow
from temporalio.testing import WorkflowEnvironment

from kit.cli.main import run
from kit.operate import Operating
from kit.operate.sweeping import schedule_id
from kit.workflow.sweeping import Swept
from tests.docs.pages import ROOT, blocks
from tests.harness import Running, running
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

PAGE = ROOT / "docs/how-to/unwind.md"
SERVICE = """
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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a service, where its operators type."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.kit]\napp = "{tmp_path.name}:app"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


Type = Callable[[str], Awaitable[tuple[int, str]]]


def _typing(worker: Running, folder: Path, screen: pytest.CaptureFixture[str]) -> Type:
    address = worker.client.service_client.config.target_host
    (folder / f"{folder.name}.py").write_text(SERVICE.format(address=address, queue=worker.task_queue), "utf-8")

    async def type_(line: str) -> tuple[int, str]:
        screen.readouterr()
        kit, *words = shlex.split(line)
        assert kit == "kit"
        code = await asyncio.to_thread(run, words)
        printed = screen.readouterr()
        return code, printed.out + printed.err

    return type_


async def _travel(worker: Running, *names: str) -> None:
    for name in names:
        lines = ("step hotel", "step card") if name == "1" else ("step hotel", "after letter")
        await (await worker.start(Travel.run, Plan(id=name, lines=lines), id=f"trip-{name}")).result()


async def test_the_commands_of_the_page_do_what_it_says(
    server: WorkflowEnvironment, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A look changes nothing and prints what the page has; then it is carried out, told, and written down."""
    one, many, carry_out, *_ = (block.text.strip() for block in blocks(PAGE) if block.language == "sh")
    world = World()
    async with running(server, world.plugin, [Travel], build_id="bad") as worker:
        type_ = _typing(worker, folder, capsys)
        await _travel(worker, "1", "2")
        while len([each async for each in worker.client.list_workflows(_of(worker))]) < 2:  # noqa: ASYNC110 - visibility tells nobody
            await asyncio.sleep(0.05)

        looked = await type_(one)
        all_ = await type_(many)
        live = dict(world.provider.live)
        done = await type_(carry_out)
        again = await type_("kit unwind trip-1 --json")
        await worker.client.get_workflow_handle("unwind:trip-2").terminate()

    (expected,) = (block.text.strip() for block in blocks(PAGE) if block.language == "text")
    assert looked[0] == 0
    assert [line.split(" 20")[0] for line in looked[1].strip().splitlines()] == expected.splitlines()
    assert "2 runs: 3 effects would be undone, 1 put to a person" in all_[1]
    assert "-> asks travel-team: IRREVERSIBLE has no undo" in all_[1]
    assert live == {"card:1": 1, "hotel:1": 1, "hotel:2": 1, "letter:2": 1}
    assert done[0] == 1
    assert "trip-1  unwound: 2 undone, 0 nothing, 0 left" in done[1]
    assert "trip-2  parked: unwind:trip-2 waits for 1 decisions" in done[1]
    assert "2 runs: 1 unwound, 1 parked" in done[1]
    assert world.provider.live == {"letter:2": 1}
    report = (folder / "unwind.md").read_text(encoding="utf-8")
    assert "| `trip-1` | completed | unwound | `card:1`<br>`hotel:1` |" in report
    document = json.loads((folder / "unwind.json").read_text(encoding="utf-8"))
    assert {each["workflow_id"]: each["state"] for each in document["runs"]} == {
        "trip-1": "unwound",
        "trip-2": "parked",
    }
    assert (document["who"], document["why"], document["carried_out"]) == ("ada", "charged twice", True)
    assert json.loads(again[1])["runs"][0]["effects"] == []


async def test_the_sweeper_unwinds_what_was_cut_off(
    server: WorkflowEnvironment, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is switched on, unwinds a run that was terminated, leaves completed and restarted ones alone, and goes off."""
    on, status, off = (block.text.strip() for block in blocks(PAGE) if "kit sweeper" in block.text)
    world = World()
    async with running(server, world.plugin, [Travel]) as worker:
        type_ = _typing(worker, folder, capsys)
        operating = Operating(client=worker.client, ledger=world.ledger, task_queue=worker.task_queue)
        await (await worker.start(Travel.run, Plan(id="done", lines=("step hotel",)))).result()
        cut = await _cut_off(worker, world, "cut")
        again = await _cut_off(worker, world, "again")
        await (await worker.start(Travel.run, Plan(id="again", lines=("step hotel",)), id=again)).result()

        before = await type_(status)
        switched = await type_(on)
        await type_("kit sweeper on --rest 0s --now")
        swept = await _swept(worker, operating)
        result = await worker.client.get_workflow_handle(f"unwind:{cut}").result()
        stands = await type_(status)
        gone = await type_(off)

    assert (before, gone) == ((1, "the sweeper is off\n"), (0, "the sweeper is off\n"))
    assert switched == (0, f"the sweeper is on: schedule {schedule_id(operating)}, every 0:05:00\n")
    assert stands[0] == 0
    assert f"(sweep:{worker.task_queue}" in stands[1]
    assert (swept.looked_at, swept.unwinding, swept.left_alone) == (1, [cut], {})
    assert result["undone"] == ["hotel:cut"]
    assert world.provider.live == {"hotel:again": 1, "hotel:done": 1}


async def _cut_off(worker: Running, world: World, name: str) -> str:
    """Terminate a run in the middle, once visibility has heard of its end; returns its id."""
    handle = await worker.start(Travel.run, Plan(id=name, lines=("step hotel", "wait")))
    await world.provider.happens(f"+hotel:{name}")
    await handle.terminate()
    query = f"WorkflowId = '{handle.id}' AND ExecutionStatus = 'Terminated'"
    while not [each async for each in worker.client.list_workflows(query)]:  # noqa: ASYNC110 - visibility tells nobody
        await asyncio.sleep(0.05)
    return handle.id


async def _swept(worker: Running, operating: Operating) -> Swept:
    """What the first sweep that has found something has done. One may have come by the clock, and found nothing yet."""
    schedule = worker.client.get_schedule_handle(schedule_id(operating))
    while True:
        for made in (await schedule.describe()).info.recent_actions:
            assert isinstance(made.action, ScheduleActionExecutionStartWorkflow)
            sweep = worker.client.get_workflow_handle(made.action.workflow_id, result_type=Swept)
            swept: Swept = await sweep.result()
            if swept.looked_at:
                return swept
        await asyncio.sleep(0.05)


def _of(worker: Running) -> str:
    return f"TaskQueue = '{worker.task_queue}' AND ExecutionStatus = 'Completed'"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("kit unwind", "it takes a workflow id or a query, one of them"),
        ("kit unwind trip-1 --query x", "it takes a workflow id or a query, one of them"),
        ("kit unwind trip-1 --yes", "why='' is empty"),
    ],
)
async def test_what_cannot_be_meant_is_refused(line: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that says too little or two things at once does nothing and exits with 2."""
    code = await asyncio.to_thread(run, shlex.split(line)[1:])

    assert code == 2
    assert complaint in capsys.readouterr().err
