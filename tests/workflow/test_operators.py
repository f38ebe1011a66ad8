"""What operators and other services are told about a run, and what is refused at its start."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
import structlog
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from kit import Choice, DefinitionError, Status
from kit.telemetry import CORRELATION_ID, SUMMARY_FIELDS, Event
from kit.workflow import RUN_TIMEOUT, SUMMARY_QUERY, RunSummary
from tests.workflow.sagas import Plan, Travel
from tests.workflow.scene import new_id, scene
from tests.workflow.world import Gate, World, declined, held, unsent

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def current_details(run: WorkflowHandle[Any, Any]) -> str:
    """What the Temporal UI shows as current details."""
    metadata: WorkflowMetadata = await run.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return metadata.current_details


async def test_current_details_are_a_table_of_steps(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """The current details show the state, what to do next, and every step with its key and its reason."""
    world.provider.script("flight.book", unsent())
    world.provider.script("card.charge", declined())
    world.provider.script("flight.book.undo", declined())
    gate = Gate()
    world.provider.script("hotel.book", held(gate))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step hotel", "after mail", "pivot card")
        await gate.reached()
        going = await current_details(run)
        gate.open()
        await travel.task(run)
        await travel.until(run, "hotel.book.undo")
        parked = await current_details(run)
        await travel.decide(run, Choice.SKIP)
        await travel.end(run)
        over = await current_details(run)

    assert going == (
        "**running**\n"
        "Nothing to do: it is going forward.\n"
        "\n"
        "| # | step | state | attempts | key | why |\n"
        "|---|---|---|---|---|---|\n"
        "| 1 | Book the flight of 1 | ✓ done | 2 | `flight:1` |  |\n"
        "| 2 | Book the hotel of 1 | running … |  | `hotel:1` |  |\n"
        "\n"
        "Owner: travel-desk · Runbook: https://runbooks.test/travel"
    )
    assert parked == (
        "**parked: waits for a person** (card_declined)\n"
        "- **travel-team decides** (task `1-undo-1`): The undo of “Book the flight of 1” cannot go on by itself: "
        "declined (card_declined), outcome unknown, key flight:1. One of `retry`, `skip`, `supply`, as update "
        "`kit_decide` with `task_id`, `choice`, `who`, `why`, `result`. Runbook: https://runbooks.test/agency.\n"
        "\n"
        "| # | step | state | attempts | key | why |\n"
        "|---|---|---|---|---|---|\n"
        "| 1 | Book the flight of 1 | undoing … | 2 + 1 undo | `flight:1` | declined: card_declined |\n"
        "| 2 | Book the hotel of 1 | ↩ undone | 1 + 1 undo | `hotel:1` |  |\n"
        "| 3 | Send the mail of 1 | held back |  | `mail:1` |  |\n"
        "| 4 | Charge the card of 1 | ✗ refused, no effect | 1 | `card:1` | declined: card_declined |\n"
        "\n"
        "Owner: travel-desk · Runbook: https://runbooks.test/travel"
    )
    assert over.startswith("**residue** (card_declined)\nAn effect was left in place by decision; see the table.\n")
    assert "| 1 | Book the flight of 1 | ⚠ left in place |" in over


async def test_static_summary_and_details_name_the_owner(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """A start through the plugin's client says who owns the run and where the runbook is; the caller's words win."""
    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight")
        named = await travel.start("step flight", static_summary="A trip to the sea", static_details="Bring a towel.")
        description, own = await run.describe(), await named.describe()
        summary, details = await description.static_summary(), await description.static_details()
        words = (await own.static_summary(), await own.static_details())
        await run.result()
        await named.result()

    assert summary == f"Travel {run.id}"
    assert details == (
        "**Owner:** travel-desk\n"
        "**Runbook:** https://runbooks.test/travel\n"
        "**Deadline:** 6:00:00 to the pivot; undone in reverse when it cannot go forward.\n"
        "How it stands and what to do next: *Current details*."
    )
    assert words == ("A trip to the sea", "Bring a towel.")


async def test_activities_read_as_sentences(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """Every activity carries a summary: the step, its undo, and the decision of a person."""
    world.provider.script("card.charge", declined())
    world.provider.script("flight.book.undo", declined())

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("step flight", "step card")
        await travel.decide(run, Choice.SKIP)
        ended = await travel.end(run)

    assert ended.history.summaries == [
        "Book the flight of 1",
        "Charge the card of 1",
        "Undo: Book the flight of 1",
        "Record the decision of ada: skip flight.book",
    ]


@pytest.mark.parametrize("ends", ["completed", "compensated"])
async def test_the_end_of_a_run_is_logged_once(
    server: WorkflowEnvironment, world: World, cached: bool, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One summary event with exactly the fields of the table, also when every task is a replay."""
    if ends == "compensated":
        world.provider.script("hotel.book", declined())
    world.provider.script("flight.book", unsent())

    with caplog.at_level(logging.INFO):
        async with scene(server, world, cached=cached) as travel:
            run = await travel.start("step flight", "step hotel")
            await travel.end(run)

    told = [record for record in caplog.records if record.getMessage().startswith(Event.RUN_SUMMARY)]
    assert len(told) == 1
    fields = {name: vars(told[0])[name] for name in SUMMARY_FIELDS}
    assert fields.pop("duration_ms") >= 0
    assert fields == {
        "run_id": run.result_run_id,
        "status": Status(ends),
        "retry_count": 1,
        "compensation_count": 0 if ends == "completed" else 1,
        "reason_code": None if ends == "completed" else "card_declined",
        "key_outputs": {"trip_id": "1", "status": "booked"} if ends == "completed" else {},
    }
    assert vars(told[0])[CORRELATION_ID] == run.id
    assert not [record for record in caplog.records if "never retrieved" in record.getMessage()]


async def test_one_correlation_id_from_the_caller_to_the_provider(
    server: WorkflowEnvironment, world: World, cached: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The correlation id of the caller reaches every token, every log event of the run, and its summary."""
    with caplog.at_level(logging.INFO), structlog.contextvars.bound_contextvars(correlation_id="req-7"):
        async with scene(server, world, cached=cached) as travel:
            run = await travel.start("step flight")
            await travel.end(run)
            summary = await run.query(SUMMARY_QUERY, result_type=RunSummary)

    assert {token.correlation_id for token in world.provider.tokens} == {"req-7"}
    assert summary.correlation_id == "req-7"
    told = [record for record in caplog.records if record.getMessage().startswith("saga.")]
    assert {vars(record)[CORRELATION_ID] for record in told} == {"req-7"}


async def test_bad_input_fails_at_once(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A run argument that does not validate fails the workflow with a clear error, and nothing is scheduled."""
    async with scene(server, world, cached=cached) as travel:
        run = await travel.worker.client.start_workflow(
            "Travel", {"id": 7, "nr": 1}, id=new_id(), task_queue=travel.worker.task_queue
        )
        ended = await travel.end(run)

    assert ended.closed_as == "FAILED"
    assert ended.type == "ValidationError"
    assert "validation errors for Plan" in str(ended.error)
    assert ended.activities == []
    assert ended.history.timers == 0


@pytest.mark.parametrize("timeout", ["run_timeout", "execution_timeout"])
async def test_a_timeout_is_refused_where_it_is_asked_for(
    server: WorkflowEnvironment, world: World, timeout: str
) -> None:
    """The plugin's client refuses a run or execution timeout of a saga."""
    async with scene(server, world) as travel:
        options: dict[str, Any] = {timeout: timedelta(hours=1)}
        with pytest.raises(DefinitionError) as caught:
            await travel.start("step flight", **options)

    assert str(caught.value) == (
        "start of saga 'Travel': a run or execution timeout of 1:00:00 ends a saga without running any code, so "
        "nothing is undone. Fix: start it without; its deadline is 6:00:00."
    )


@pytest.mark.parametrize("timeout", ["run_timeout", "execution_timeout"])
async def test_a_timeout_from_elsewhere_is_refused_in_the_workflow(
    server: WorkflowEnvironment, world: World, cached: bool, timeout: str
) -> None:
    """A saga that another client starts with a timeout fails before its first step."""
    async with scene(server, world, cached=cached) as travel:
        run = await server.client.start_workflow(
            "Travel",
            Plan(id="1", lines=("step flight",)).model_dump(),
            id=new_id(),
            task_queue=travel.worker.task_queue,
            run_timeout=timedelta(hours=1) if timeout == "run_timeout" else None,
            execution_timeout=timedelta(hours=1) if timeout == "execution_timeout" else None,
        )
        with pytest.raises(WorkflowFailureError) as caught:
            await run.result()

    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == RUN_TIMEOUT
    assert caught.value.cause.message == (
        "Travel was started with a run or execution timeout of 1:00:00: when it is over no code runs and nothing is "
        "undone. Fix: start it without; its deadline is 6:00:00."
    )
    assert world.provider.story == []


async def test_other_workflows_are_left_alone(server: WorkflowEnvironment, world: World) -> None:
    """The plugin's client refuses nothing about workflows that are no sagas."""
    async with scene(server, world) as travel:
        run = await travel.worker.client.start_workflow(
            "Elsewhere", id=new_id(), task_queue=new_id(), run_timeout=timedelta(hours=1)
        )
        description = await run.describe()
        await run.terminate()

    assert await description.static_summary() is None
    assert Travel.__saga__.owner == "travel-desk"
