"""Metrics arrive where an operator fetches them, with exactly the labels of the table."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import MetricMeter
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from kit import Choice, Decision, Status
from kit.ledger import MemoryLedger
from kit.telemetry import METRICS, count, measure, names, prometheus
from kit.telemetry.names import DURATION_BUCKETS
from kit.worker import ReliabilityPlugin
from kit.workflow import DECIDE_UPDATE, TASKS_QUERY
from tests.telemetry.world import Gift, Order, Sale, Shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

TEMPORALS_OWN = {"namespace", "task_queue", "activity_type", "workflow_type", "service_name", "le"}
"""Labels that Temporal's meters and exporter add to every metric."""

QUEUE = "metrics"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint() -> tuple[Runtime, str]:
    """A runtime with a Prometheus endpoint, and its address. One for the module: it lives as long as the process."""
    address = f"127.0.0.1:{_free_port()}"
    return Runtime(telemetry=TelemetryConfig(metrics=prometheus(address))), f"http://{address}/metrics"


@asynccontextmanager
async def _service(server: WorkflowEnvironment, runtime: Runtime, *, queue: str) -> AsyncIterator[Client]:
    plugin = ReliabilityPlugin(ledger=MemoryLedger(), connectors=[Shop()])
    address = server.client.service_client.config.target_host
    client = await Client.connect(address, runtime=runtime, plugins=[plugin])
    async with Worker(client, task_queue=queue, workflows=[Sale, Gift]):
        yield client


async def _scrape(address: str) -> dict[str, list[dict[str, str]]]:
    """The labels of every sample of the kit's metrics, by the sample's name."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(address)).text
    samples: dict[str, list[dict[str, str]]] = {}
    for line in text.splitlines():
        if match := re.match(r"(kit_\w+)\{(.*)\} \S+$", line):
            samples.setdefault(match[1], []).append(dict(re.findall(r'(\w+)="([^"]*)"', match[2])))
    return samples


async def test_a_runs_metrics_are_fetched_with_the_labels_of_the_table(
    server: WorkflowEnvironment, endpoint: tuple[Runtime, str]
) -> None:
    """After a run that retries, trips the breaker and turns round, each metric it touched is there with its labels."""
    runtime, address = endpoint

    async with _service(server, runtime, queue=QUEUE) as client:
        with pytest.raises(WorkflowFailureError):
            await client.execute_workflow(
                Sale.run, Order(order_id="1", decline=True, flaky=2), id="metrics-1", task_queue=QUEUE
            )
        samples = await _scrape(address)

    expected = {
        "kit_attempts_total",
        "kit_undos_total",
        "kit_circuits_opened_total",
        "kit_runs_total",
        "kit_run_duration_seconds_bucket",
    }
    assert expected <= set(samples)
    for sample, labelled in samples.items():
        metric = next(metric for name, metric in METRICS.items() if sample.startswith(name + "_"))
        for labels in labelled:
            assert set(metric.labels) <= set(labels)
            assert set(labels) - set(metric.labels) <= TEMPORALS_OWN
    assert {"operation": "shop.pay", "role": "action", "outcome": "refused", "kind": "declined"}.items() <= next(
        labels for labels in samples["kit_attempts_total"] if labels["operation"] == "shop.pay"
    ).items()
    (run,) = (labels for labels in samples["kit_runs_total"] if labels["workflow_type"] == "Sale")
    assert (run["status"], run["reason_code"]) == (Status.COMPENSATED, "card_declined")


async def test_a_duration_has_buckets_for_days(server: WorkflowEnvironment, endpoint: tuple[Runtime, str]) -> None:
    """The duration of a run is in seconds, in buckets that reach beyond the exporter's own ten seconds."""
    runtime, address = endpoint

    async with _service(server, runtime, queue=QUEUE) as client:
        await client.execute_workflow(Sale.run, Order(order_id="2"), id="metrics-2", task_queue=QUEUE)
        samples = await _scrape(address)

    bounds = {labels["le"] for labels in samples["kit_run_duration_seconds_bucket"]}
    assert bounds == {f"{bound:g}" for bound in DURATION_BUCKETS if bound < 100_000} | {"604800", "+Inf"}


async def test_a_parked_run_is_counted(server: WorkflowEnvironment, endpoint: tuple[Runtime, str]) -> None:
    """A task put to a person is counted by workflow type, operation and kind of failure."""
    runtime, address = endpoint

    async with _service(server, runtime, queue=QUEUE) as client:
        handle: WorkflowHandle[Gift, None] = await client.start_workflow(
            Gift.run, Order(order_id="3", decline=True), id="metrics-3", task_queue=QUEUE
        )
        while not (tasks := await handle.query(TASKS_QUERY)):
            pass
        decision = Decision(task_id=tasks[0]["id"], choice=Choice.SKIP, who="a test", why="it is over")
        await handle.execute_update(DECIDE_UPDATE, decision)
        await handle.result()
        samples = await _scrape(address)

    (labels,) = samples["kit_runs_parked_total"]
    assert {"workflow_type": "Gift", "operation": "shop.pay", "kind": "declined"}.items() <= labels.items()


async def test_labels_that_are_not_in_the_table_are_refused() -> None:
    """A metric counted with other labels than its own is an error, not a second series."""
    with pytest.raises(ValueError, match=r"kit_effects_late has the labels \['operation'\], not \['order_id'\]"):
        count(MetricMeter.noop, names.EFFECTS_LATE, order_id="1")


async def test_a_duration_with_foreign_labels_is_refused() -> None:
    """Histograms keep to their labels, too."""
    with pytest.raises(ValueError, match="kit_run_duration has the labels"):
        measure(MetricMeter.noop, names.RUN_DURATION, 1, order_id="1")
