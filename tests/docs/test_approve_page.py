"""The commands of "Approve", typed into the real command line, and its table."""

from __future__ import annotations

import asyncio
import inspect
import shlex
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

from kit import SagaWorkflow
from kit.cli.main import run
from kit.operate import OpenTask, open_tasks
from kit.workflow.approving import DEFAULT_WITHIN
from tests.docs.pages import ROOT, blocks, plain, rows
from tests.docs.service import write_service
from tests.harness import Running, running
from tests.workflow.approvals import Asks
from tests.workflow.world import Ask, World

PAGE = ROOT / "docs/how-to/approve.md"
COMMANDS = [shlex.split(line) for block in blocks(PAGE) if block.language == "sh" for line in block.text.splitlines()]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.slow
async def test_the_commands_list_show_and_decide(
    server: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed from top to bottom: listed, shown, approved, rejected, and refused where nobody has looked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    world = World()
    said: list[tuple[int, str]] = []
    async with running(server, world.plugin, [Asks]) as worker:
        write_service(tmp_path, address=worker.client.service_client.config.target_host, queue=worker.task_queue)
        with server.with_time_skipping_disabled():
            runs = [
                await worker.start(Asks.run, Ask(id=name), id=name) for name in ("refund-7", "refund-8", "refund-9")
            ]
        tasks = await _all_listed(worker, len(runs))
        digest = next(task.notice.digest for task in tasks if task.workflow_id == "refund-7") or ""
        for words in COMMANDS:
            capsys.readouterr()
            code = await asyncio.to_thread(run, [digest[:8] if word == "DIGEST" else word for word in words[1:]])
            said.append((code, "".join(capsys.readouterr())))
        approved = await runs[0].result()
        with pytest.raises(WorkflowFailureError):
            await runs[1].result()
        await runs[2].terminate()

    (refusal,) = (block.text.strip() for block in blocks(PAGE) if block.language == "text")
    assert [code for code, _ in said] == [0, 0, 0, 0, 1, 0]
    assert all(f"refund-{number}" in said[0][1] for number in (7, 8, 9))
    assert f"  digest     {digest}\n" in said[1][1]
    assert refusal in said[4][1]
    assert approved == "ada: agreed on the phone"
    assert world.provider.live == {"card:refund-7": 1, "flight:refund-7": 1, "flight:refund-9": 1}


async def _all_listed(worker: Running, number: int) -> list[OpenTask]:
    """The open tasks, once visibility, which follows the runs with a delay, knows of so many."""
    for _ in range(400):
        tasks = await open_tasks(worker.client, query=f"TaskQueue = '{worker.task_queue}'")
        if len(tasks) == number:
            return tasks
        await asyncio.sleep(0.05)
    raise AssertionError(f"{number} tasks were never to be seen")


def test_the_table_has_every_argument() -> None:
    """What can be said when something is asked, with its default."""
    arguments = [name for name in inspect.signature(SagaWorkflow.approval).parameters if name not in _GIVEN]
    told = {plain(row[0]): row[1] for row in rows(PAGE, "Ask in the workflow")}

    assert sorted(told) == sorted(arguments)
    assert told["within"] == f"{DEFAULT_WITHIN.days} days"


_GIVEN = ("self", "operation", "request")
