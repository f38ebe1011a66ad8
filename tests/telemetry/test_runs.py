"""What a run on the real server says, as a process's log shows it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from kit.ledger import MemoryLedger
from kit.telemetry import SUMMARY_FIELDS, Event
from kit.worker import ReliabilityPlugin
from tests.harness import running
from tests.telemetry.conftest import Written
from tests.telemetry.world import Order, Sale, Shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


def _plugin(shop: Shop) -> ReliabilityPlugin:
    return ReliabilityPlugin(ledger=MemoryLedger(), connectors=[shop])


async def test_a_run_ends_with_a_summary_of_every_field(
    server: WorkflowEnvironment, cached: bool, written: Written
) -> None:
    """The last event of a run carries how it ended, how long it took and what came of it."""
    async with running(server, _plugin(Shop()), [Sale], cached=cached) as worker:
        handle = await worker.start(Sale.run, Order(order_id="1"))
        await handle.result()

    (summary,) = written.named(Event.RUN_SUMMARY)
    assert set(SUMMARY_FIELDS) <= set(summary)
    assert summary["status"] == "completed"
    assert summary["run_id"] == handle.first_execution_run_id
    assert summary["retry_count"] == 0
    assert summary["compensation_count"] == 0
    assert summary["reason_code"] is None
    assert summary["key_outputs"] == {"receipt_id": "pay:1"}


async def test_a_compensated_run_says_why_and_what_was_undone(
    server: WorkflowEnvironment, cached: bool, written: Written
) -> None:
    """The summary of a run that turned round has the reason code and counts retries and compensations."""
    async with running(server, _plugin(Shop()), [Sale], cached=cached) as worker:
        handle = await worker.start(Sale.run, Order(order_id="1", decline=True, flaky=2))
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    (summary,) = written.named(Event.RUN_SUMMARY)
    assert summary["status"] == "compensated"
    assert summary["reason_code"] == "card_declined"
    assert summary["retry_count"] == 2
    assert summary["compensation_count"] == 1
    (turned,) = written.named(Event.RUN_TURNED)
    assert turned["reason"] == "card_declined"
    assert "no money" in turned["cause"]
    assert "attempt" not in turned


async def test_each_line_of_a_run_names_the_run(server: WorkflowEnvironment, cached: bool, written: Written) -> None:
    """Every line of the kit and of the service's code in a run carries the same correlation and workflow id."""
    async with running(server, _plugin(Shop()), [Sale], cached=cached) as worker:
        await (await worker.start(Sale.run, Order(order_id="1", flaky=1), id="sale-1")).result()

    said = {line["event"]: line for line in written.of_runs}
    expected = {"saga.started", "a line of the service's own", "operation.attempt_failed", "connector.reserved"}
    assert expected <= set(said)
    assert {line["correlation_id"] for line in said.values()} == {"sale-1"}
    assert {said[event]["workflow_id"] for event in ("saga.started", "operation.attempt_failed")} == {"sale-1"}


async def test_a_connectors_own_lines_name_the_attempt(
    server: WorkflowEnvironment, cached: bool, written: Written
) -> None:
    """What a connector logs with `activity_log` has its fields, and whose attempt it was."""
    async with running(server, _plugin(Shop()), [Sale], cached=cached) as worker:
        await (await worker.start(Sale.run, Order(order_id="1"), id="sale-3")).result()

    (paid,) = written.named("connector.paid")
    assert paid["receipt_id"] == "pay:1"
    assert paid["activity_type"] == "shop.pay"
    assert (paid["workflow_id"], paid["correlation_id"]) == ("sale-3", "sale-3")
    assert "temporal_activity" not in paid


async def test_a_circuit_that_opens_and_closes_is_told(
    server: WorkflowEnvironment, cached: bool, written: Written
) -> None:
    """A breaker says when it stops asking a dependency and when it asks again."""
    async with running(server, _plugin(Shop()), [Sale], cached=cached) as worker:
        await (await worker.start(Sale.run, Order(order_id="1", flaky=2), id="sale-2")).result()

    (opened,) = written.named(Event.CIRCUIT_OPENED)
    (closed,) = written.named(Event.CIRCUIT_CLOSED)
    assert opened["dependency"] == closed["dependency"] == "shop"
    assert opened["correlation_id"] == "sale-2"


async def test_nothing_is_said_twice_when_a_run_is_replayed(
    server: WorkflowEnvironment, cached: bool, written: Written
) -> None:
    """A replay is silent: events say what happened, and it happened once."""
    plugin = _plugin(Shop())
    async with running(server, plugin, [Sale], cached=cached) as worker:
        handle = await worker.start(Sale.run, Order(order_id="1", decline=True))
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    told = [line["event"] for line in written.lines]

    await Replayer(workflows=[Sale], plugins=[plugin]).replay_workflow(await handle.fetch_history())

    assert [line["event"] for line in written.lines] == told
    assert sorted(told) == sorted(set(told))


async def test_one_correlation_id_goes_from_the_caller_to_the_provider(
    server: WorkflowEnvironment, cached: bool, written: Written
) -> None:
    """What the caller bound when it started the run is in every attempt's token and on every line."""
    shop = Shop()
    async with running(server, _plugin(shop), [Sale], cached=cached) as worker:
        with structlog.contextvars.bound_contextvars(correlation_id="request-7"):
            handle = await worker.start(Sale.run, Order(order_id="1", decline=True))
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    assert [token.correlation_id for token in shop.tokens] == ["request-7"] * 3
    assert {line["correlation_id"] for line in written.of_runs} == {"request-7"}


async def test_runs_side_by_side_keep_their_ids_apart(
    server: WorkflowEnvironment, cached: bool, written: Written
) -> None:
    """The correlation id of one attempt never shows on another one's lines."""

    async def sale(worker: Any, number: int) -> None:
        with structlog.contextvars.bound_contextvars(correlation_id=f"request-{number}"):
            handle = await worker.start(Sale.run, Order(order_id=str(number)), id=f"sale-{number}")
        await handle.result()

    async with running(server, _plugin(Shop()), [Sale], cached=cached) as worker:
        await asyncio.gather(*(sale(worker, number) for number in range(5)))

    pairs = {(line["workflow_id"], line["correlation_id"]) for line in written.named(Event.RUN_SUMMARY)}
    assert pairs == {(f"sale-{number}", f"request-{number}") for number in range(5)}
    reserved = [line["correlation_id"] for line in written.named("connector.reserved")]
    assert sorted(reserved) == [f"request-{number}" for number in range(5)]
