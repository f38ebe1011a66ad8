"""The commands of "Answer a task", typed into the real command line."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from kit.ledger import MemoryLedger
from kit.testing import temporal_binary
from kit.worker import ReliabilityPlugin
from kit.workflow import SUMMARY_QUERY
from tests.docs.pages import ROOT, Block, blocks
from tests.telemetry.world import Gift, Order, Shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

PAGE = ROOT / "docs/how-to/answer-a-task.md"
QUEUE = "answer-a-task"


def _commands() -> list[Block]:
    return [block for block in blocks(PAGE) if block.language == "sh"]


def _words(block: Block) -> list[str]:
    """A command as a shell takes it apart."""
    return shlex.split(block.text.replace("\\\n", " "))


async def _type(server: WorkflowEnvironment, block: Block) -> tuple[int, str]:
    """Run one command of the page against the test's server."""
    words = _words(block)
    assert words[0] == "temporal"
    program = temporal_binary()
    assert program is not None
    address = server.client.service_client.config.target_host
    process = await asyncio.create_subprocess_exec(
        program,
        *words[1:],
        "--address",
        address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@asynccontextmanager
async def _service(server: WorkflowEnvironment) -> AsyncIterator[Client]:
    config = server.client.config()
    config["plugins"] = [ReliabilityPlugin(ledger=MemoryLedger(), connectors=[Shop()])]
    client = Client(**config)
    async with Worker(client, task_queue=QUEUE, workflows=[Gift]):
        yield client


async def _parked(client: Client, name: str) -> WorkflowHandle[Gift, None]:
    """A run that waits for a person: its after-commit payment is declined."""
    handle = await client.start_workflow(Gift.run, Order(order_id=name, decline=True), id=name, task_queue=QUEUE)
    while not (await handle.query(Gift.kit_summary)).parked:
        pass
    return handle


async def test_the_commands_find_answer_and_check_a_task(server: WorkflowEnvironment) -> None:
    """Typed as the page has them, the commands list the task, decide it, and show how the run stands."""
    tasks, skip, supply, refused, summary = _commands()

    async with _service(server) as client:
        first, second, third = [await _parked(client, f"gift-{number}") for number in (42, 43, 44)]
        listed = await _type(server, tasks)
        decided = await _type(server, skip)
        assert decided[0] == 0, decided[1]
        supplied = await _type(server, supply)
        assert supplied[0] == 0, supplied[1]
        denied = await _type(server, refused)
        await first.result()
        await second.result()
        stands = await _type(server, summary)
        kept = await third.query(Gift.kit_summary)
        await third.terminate()

    assert listed[0] == 0
    assert '"id": "1-1"' in listed[1] or '"id":"1-1"' in listed[1]
    assert denied[0] != 0
    (expected,) = (block.text.strip() for block in blocks(PAGE) if block.language == "text")
    assert expected in denied[1]
    assert kept.parked
    assert '"status":"completed"' in stands[1].replace(" ", "")
    assert SUMMARY_QUERY in summary.text


async def test_the_page_shows_what_a_task_offers(server: WorkflowEnvironment) -> None:
    """The ids and choices on the page are those that a run gives."""
    answers = [json.loads(_words(block)[-1]) for block in _commands() if "--input" in block.text]

    async with _service(server) as client:
        handle = await _parked(client, "gift-45")
        (task,) = await handle.query(Gift.kit_tasks)
        await handle.terminate()

    assert {answer["task_id"] for answer in answers} == {task.id}
    assert {"skip", "supply"} <= set(task.choices)
    assert "unwind" not in task.choices
