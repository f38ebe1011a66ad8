"""The commands of "Reconcile systems, and close an incident", run one after the other."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path

import pytest
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.orders.contract import OrderStatus
from kit.cli.main import run
from kit.ledger import SqliteLedger
from kit.operate import open_tasks
from tests.docs.pages import ROOT, blocks, rows
from tests.reconciliation import service
from tests.reconciliation.estate import Estate
from workflows.reconciliation import INVARIANTS

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs/how-to/reconcile.md"
SCHEDULE = "reconcile-Reconcile"


def _commands() -> list[list[str]]:
    lines = [line for block in blocks(PAGE) if block.language == "sh" for line in block.text.splitlines()]
    return [shlex.split(line) for line in lines]


async def _scheduled(server: WorkflowEnvironment) -> bool:
    try:
        await server.client.get_schedule_handle(SCHEDULE).describe()
    except RPCError:
        return False
    return True


@pytest.mark.asyncio(loop_scope="session")
async def test_the_commands_look_repair_schedule_and_close_an_incident(
    server: WorkflowEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed as the page has them they find a lost payment, give it back, and close an incident when all is well."""
    (tmp_path / "pyproject.toml").write_text(service.PROJECT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    codes, said, scheduled = [], [], []

    async with Estate.open(server, tmp_path, ledger=SqliteLedger(tmp_path / "effects.db")) as estate:
        await estate.order("PAID", OrderStatus.PLACED)
        await estate.payment("PAID")
        await estate.payment("LOST")
        async with estate.worker() as worker:
            monkeypatch.setenv(service.ADDRESS, server.client.service_client.config.target_host)
            monkeypatch.setenv(service.LEDGER, str(tmp_path / "effects.db"))
            monkeypatch.setenv(service.QUEUE, worker.task_queue)
            for command in _commands():
                assert command[0] == "kit"
                codes.append(await asyncio.to_thread(run, command[1:]))
                said.append("".join(capsys.readouterr()))
                scheduled.append(await _scheduled(server))
            left = await open_tasks(worker.client, query=f"TaskQueue = '{worker.task_queue}'")

    listed, looked, repaired, *_ = said
    assert codes == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], said
    assert all(each.name in listed for each in INVARIANTS)
    assert "order 'LOST' does not exist, and 4999 usd was taken for it *found*" in looked
    assert "*repaired*" in repaired
    assert json.loads((tmp_path / "out/report.json").read_text())["findings"][0]["key"] == "LOST"
    assert (tmp_path / "out/report.md").read_text() in repaired
    assert scheduled[3:5] == [True, False]
    (refusal,) = (block.text.strip() for block in blocks(PAGE) if block.language == "text")
    assert refusal in said[10]
    assert "is at **closed**" in said[-1]
    assert "bob: the deploy of noon is to blame" in said[-1]
    assert left == []


def test_the_page_lists_the_invariants_of_the_reference_service() -> None:
    """Each rule of the page is one of the service, in its order."""
    assert [row[0] for row in rows(PAGE, "What is checked")] == [each.name for each in INVARIANTS]
