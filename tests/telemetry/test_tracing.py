"""Spans of OpenTelemetry: the start, the workflow and its activities in one trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.testing import WorkflowEnvironment

from kit.ledger import MemoryLedger
from kit.worker import ReliabilityPlugin
from tests.harness import running
from tests.telemetry.world import Order, Sale, Shop

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

_exporter = InMemorySpanExporter()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Where the process's spans end up. A process has one tracer provider, set once."""
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_exporter))
        trace.set_tracer_provider(provider)
    _exporter.clear()
    yield _exporter
    _exporter.clear()


def _named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    return next(span for span in spans.get_finished_spans() if span.name == name)


async def test_a_run_is_one_trace_from_its_start_to_its_activities(
    server: WorkflowEnvironment, cached: bool, spans: InMemorySpanExporter
) -> None:
    """The spans of the start, of the workflow in its sandbox, and of each activity share one trace."""
    plugin = ReliabilityPlugin(ledger=MemoryLedger(), connectors=[Shop()], tracing=True)

    async with running(server, plugin, [Sale], cached=cached) as worker:
        with trace.get_tracer("caller").start_as_current_span("the caller's request"):
            handle = await worker.start(Sale.run, Order(order_id="1"))
        await handle.result()

    request = _named(spans, "the caller's request")
    for name in ("StartWorkflow:Sale", "RunWorkflow:Sale", "StartActivity:shop.pay", "RunActivity:shop.pay"):
        span = _named(spans, name)
        assert span.context is not None
        assert request.context is not None
        assert span.context.trace_id == request.context.trace_id, name


async def test_without_tracing_there_is_no_span(
    server: WorkflowEnvironment, cached: bool, spans: InMemorySpanExporter
) -> None:
    """Tracing is an option: nobody pays for it who did not ask."""
    plugin = ReliabilityPlugin(ledger=MemoryLedger(), connectors=[Shop()])

    async with running(server, plugin, [Sale], cached=cached) as worker:
        await (await worker.start(Sale.run, Order(order_id="1"))).result()

    assert spans.get_finished_spans() == ()
