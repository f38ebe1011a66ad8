"""The commands of "Answer a task", typed into the real command lines."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from kit.cli.main import run
from kit.ledger import MemoryLedger
from kit.operate import open_tasks
from kit.testing import temporal_binary
from kit.worker import ReliabilityPlugin
from kit.workflow import SUMMARY_QUERY
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.service import write_service
from tests.telemetry.world import Gift, Order, Shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

PAGE = ROOT / "docs/how-to/answer-a-task.md"
QUEUE = "answer-a-task"


def _lines(block: Block) -> list[list[str]]:
    """The commands of a block, as a shell takes them apart."""
    return [shlex.split(line) for line in block.text.replace("\\\n", " ").splitlines()]


COMMANDS = [words for block in blocks(PAGE) if block.language == "sh" for words in _lines(block)]


@dataclass
class Desk:
    """The operator of a service that is at work."""

    client: Client
    shop: Shop
    screen: pytest.CaptureFixture[str]

    async def type(self, *start: str) -> tuple[int, str]:
        """Run the one command of the page that starts so: its exit code, and what it printed."""
        (words,) = (words for words in COMMANDS if words[: len(start)] == list(start))
        if words[0] == "kit":
            self.screen.readouterr()
            code = await asyncio.to_thread(run, words[1:])
            return code, "".join(self.screen.readouterr())
        return await self._temporal(words[1:])

    async def _temporal(self, words: list[str]) -> tuple[int, str]:
        program = temporal_binary()
        assert program is not None
        address = self.client.service_client.config.target_host
        process = await asyncio.create_subprocess_exec(
            program, *words, "--address", address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()

    async def park(self, *names: str) -> list[WorkflowHandle[Gift, None]]:
        """Runs that wait for a person, oldest first: their after-commit payment is declined."""
        handles = []
        for name in names:
            handle = await self.client.start_workflow(
                Gift.run, Order(order_id=name, decline=True), id=name, task_queue=QUEUE
            )
            while not (await handle.query(Gift.kit_summary)).parked:
                pass
            handles.append(handle)
        return handles

    async def listed(self, number: int) -> None:
        """Wait until visibility knows of so many open tasks."""
        for _ in range(400):
            if len(await open_tasks(self.client, query=f"TaskQueue = '{QUEUE}'")) == number:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{number} tasks were never to be seen")


@asynccontextmanager
async def _service(
    server: WorkflowEnvironment, folder: Path, screen: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    config, shop = server.client.config(), Shop()
    config["plugins"] = [ReliabilityPlugin(ledger=MemoryLedger(), connectors=[shop])]
    client = Client(**config)
    write_service(folder, address=client.service_client.config.target_host, queue=QUEUE)
    async with Worker(client, task_queue=QUEUE, workflows=[Gift], build_id="tests"):
        yield Desk(client, shop, screen)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the service, where its operators type."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


async def test_the_commands_find_read_and_decide(
    server: WorkflowEnvironment, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed as the page has them, the commands of the kit list, show and decide tasks, one by one and as a group."""
    async with _service(server, folder, capsys) as desk:
        first, second, third = await desk.park("gift-42", "gift-43", "gift-44")
        await desk.listed(3)
        listed = await desk.type("kit", "tasks", "list", "--groups")
        every = await desk.type("kit", "tasks", "list", "--overdue")
        shown = await desk.type("kit", "tasks", "show")
        skipped = await desk.type("kit", "tasks", "decide", "skip")
        supplied = await desk.type("kit", "tasks", "decide", "supply")
        refused = await desk.type("kit", "tasks", "decide", "unwind")
        edited = await desk.type("kit", "tasks", "decide", "retry", "gift-44")
        for run_ in (first, second, third):
            await run_.result()
        group = await desk.park("gift-45", "gift-46")
        await desk.listed(2)
        desk.shop.generous = True
        counted = await desk.type("kit", "tasks", "decide", "retry", "--group", "shop.pay:action:declined", "--why")
        decided = await desk.type("kit", "tasks", "decide", "retry", "--group", "shop.pay:action:declined", "--rate")
        for run_ in group:
            await run_.result()

    assert [answer[0] for answer in (listed, every, shown, skipped, supplied, edited)] == [0] * 6
    assert "shop.pay:action:declined" in listed[1]
    assert json.loads(every[1]) == []
    assert "Task 1-1 (repair, open)" in shown[1]
    assert "  editable   decline\n" in shown[1]
    assert refused[0] == 1
    (expected,) = (block.text.strip() for block in blocks(PAGE) if block.language == "text")
    assert expected in refused[1]
    assert [token.key for token in desk.shop.tokens if "edit" in token.key] == ["pay:gift-44:edit-2"]
    assert "Nothing has been decided. Add --yes to do it." in counted[1]
    assert (decided[0], "2 of 2 decided." in decided[1]) == (0, True)


async def test_the_commands_of_temporal_do_too(
    server: WorkflowEnvironment, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the kit's command: a query, an update, a signal, and how the run stands after it."""
    async with _service(server, folder, capsys) as desk:
        first, second = await desk.park("gift-51", "gift-52")
        listed = await desk.type("temporal", "workflow", "query", "--workflow-id", "gift-51", "--type", "kit_tasks")
        updated = await desk.type("temporal", "workflow", "update")
        signalled = await desk.type("temporal", "workflow", "signal")
        await first.result()
        await second.result()
        stands = await desk.type("temporal", "workflow", "query", "--workflow-id", "gift-51", "--type", SUMMARY_QUERY)

    assert [answer[0] for answer in (listed, updated, signalled, stands)] == [0, 0, 0, 0]
    assert '"id":"1-1"' in listed[1].replace(" ", "")
    assert '"status":"completed"' in stands[1].replace(" ", "")
