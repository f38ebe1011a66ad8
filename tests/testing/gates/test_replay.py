"""`kit replay`: recorded histories on changed code, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.inventory import contract as inventory
from activities.payments import contract as payments
from kit import SagaWorkflow
from kit.cli.main import run
from kit.errors import DefinitionError
from kit.testing.gates.explaining import told
from kit.testing.gates.histories import FOLDER, Recording, read, read_all, recording_of, write
from kit.testing.gates.recording import cover, record
from kit.testing.gates.replaying import Divergence, Replayed, check, name_of
from kit.testing.gates.watching import compare
from kit.testing.gates.watching.reading import read as read_as
from kit.testing.sweep import run_scenario
from kit.testing.world import Subject
from kit.workflow.steps import Done
from temporal.app import WORKFLOWS
from tests.worlds import CHECKOUT, SUBJECTS
from workflows.checkout import Checkout, CheckoutRequest, OrderPlaced

ROOT = Path(__file__).parents[3]
HISTORIES = ROOT / FOLDER
CLEAN = read(HISTORIES / "checkout/clean.json")


@workflow.defn(name="Checkout")
class CreatesFirst(SagaWorkflow, owner="checkout-team", deadline=timedelta(hours=1)):
    """A checkout that begins with the authorization."""

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        await self.step(
            payments.authorize,
            payments.AuthorizePayment(
                order_id=checkout.order_id, amount=1, currency="usd", payment_method=checkout.payment_method
            ),
        )
        raise RuntimeError("not reached")


@workflow.defn(name="Checkout")
class Throws(SagaWorkflow, owner="checkout-team", deadline=timedelta(hours=1)):
    """A checkout with a mistake."""

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        raise KeyError("no such cart")


class LoyalCustomer(CheckoutRequest):
    """A request with one more field, which has no default."""

    loyalty_points: int


@workflow.defn(name="Checkout")
class AsksMore(SagaWorkflow, owner="checkout-team", deadline=timedelta(hours=1)):
    """A checkout whose argument has one more field."""

    @workflow.run
    async def run(self, checkout: LoyalCustomer) -> OrderPlaced:
        raise NotImplementedError


class Priced(payments.Capture):
    """A result with one more field, which has no default."""

    fee: int


@workflow.defn(name="Checkout")
class IsPatched(SagaWorkflow, owner="checkout-team", deadline=timedelta(hours=1)):
    """A checkout with a patch."""

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        assert workflow.patched("stamp-it")
        await self.step(
            inventory.reserve, inventory.ReserveStock(order_id=checkout.order_id, sku=checkout.sku, quantity=1)
        )
        return OrderPlaced(order_id=checkout.order_id, payment_intent="", reservation_id="", status="")


async def replayed(recording: Recording, cls: type) -> Replayed:
    """What one history comes to on some code."""
    return (await check([recording], workflows=[cls]))[0]


@pytest.mark.parametrize("recording", read_all(HISTORIES), ids=lambda recording: recording.name)
async def test_the_code_does_what_was_recorded(recording: Recording) -> None:
    """Every stored history replays on the workflows of now, with the same arguments and options."""
    (found,) = await check([recording], workflows=WORKFLOWS)

    assert list(told([found]))[:-1] == [
        f"{recording.name}  replays  ({recording.workflow}, {len(recording.events)} events)"
    ]
    assert found.unchanged


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.workflow.__name__)
def test_what_is_verified_is_recorded(subject: Subject) -> None:
    """Every subject has its clean run among the stored histories: a new one asks for `kit replay record`."""
    stored = {(recording.workflow, recording.scenario) for recording in read_all(HISTORIES)}

    assert (name_of(subject.workflow), "clean") in stored


def test_the_stored_histories_cover_the_endings() -> None:
    """Runs that complete, are undone, are cancelled, wait for a person and are terminated are stored."""
    stored = read_all(HISTORIES)

    assert {recording.ending for recording in stored} >= {
        "completed", "compensated", "cancelled", "parked", "terminated"
    }  # fmt: skip


async def test_another_step_is_named_with_its_event() -> None:
    """The first event that the code does not ask for is told, with what it asks for instead."""
    found = await replayed(CLEAN, CreatesFirst)

    assert found.divergence is not None
    assert (found.divergence.event, found.divergence.recorded, found.divergence.now) == (
        5, "schedule inventory.reserve", "schedule payments.authorize"
    )  # fmt: skip
    assert not found.fits
    lines = list(told([found]))
    assert any("its workflow task fails again and again" in line for line in lines)
    assert any("workflow.patched" in line for line in lines)
    assert any("PINNED" in line for line in lines)
    assert lines[-1] == "1 history: 0 fit the code, 1 do not"


async def test_code_that_fails_is_no_divergence_of_steps() -> None:
    """Code that raises where the history went on is told with what it raised."""
    found = await replayed(CLEAN, Throws)

    assert found.divergence is not None
    assert "no such cart" in found.divergence.now


async def test_a_patch_that_is_gone_is_named() -> None:
    """A history that has met a patch says which, and what to keep."""
    recording = recording_of(await run_scenario(replace(CHECKOUT, workflow=IsPatched), "clean"))

    found = await replayed(recording, Checkout)

    assert found.divergence is not None
    assert found.divergence.patch == "stamp-it"
    assert any("workflow.patched('stamp-it')" in line for line in told([found]))


async def test_a_workflow_that_is_gone_is_told() -> None:
    """A history of a type that the code does not have does not fit, and the types it has are named."""
    found = (await check([replace(CLEAN, workflow="Refund")], workflows=[Checkout]))[0]

    assert found.divergence is not None
    assert "start the workflow Refund" in found.divergence.recorded
    assert "Checkout" in found.divergence.reason
    assert any("keep a class of that name" in line for line in told([found]))


async def test_a_changed_timeout_is_seen_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a replay does not see is compared: another timeout is told, and strands nobody."""
    monkeypatch.setattr(payments.capture, "timeout", timedelta(seconds=17))

    found = await replayed(CLEAN, Checkout)

    assert (found.fits, found.unchanged) == (True, False)
    assert [(change.activity, str(change.differences[0])) for change in found.changes] == [
        ("payments.capture", "start_to_close_timeout = 10.0 becomes 17.0")
    ]


async def test_a_changed_key_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another idempotency key replays green, and would have the effect again: it is refused."""
    monkeypatch.setattr(payments.capture, "key", "grab:{order_id}")

    found = await replayed(CLEAN, Checkout)

    assert found.divergence is None
    assert not found.fits
    assert any("under another key" in line for line in told([found]))


async def test_a_payload_that_cannot_be_read_is_told() -> None:
    """A recorded argument that the type of now refuses is named with its event and its reason."""
    found = await replayed(CLEAN, AsksMore)

    assert not found.fits
    assert [(reading.event, reading.what) for reading in found.unreadable] == [(1, "the workflow's argument")]
    assert "loyalty_points" in found.unreadable[0].error
    assert any("cannot be read as LoyalCustomer" in line for line in told([found]))


def test_a_result_that_cannot_be_read_is_told_by_its_field() -> None:
    """A result that the type of now refuses is told with the field, and not as code that fails by itself."""
    payload = CLEAN.events[21].activity_task_completed_event_attributes.result.payloads[0]
    reading = read_as(pydantic_data_converter.payload_converter, payload, Done[Priced], event=22, what="the result")

    found = Replayed("clean", "Checkout", 41, Divergence(24, "go on", "fail: Failed decoding"), unreadable=(reading,))

    assert list(told([found]))[:2] == [
        "clean  DOES NOT FIT  (Checkout, 41 events)",
        "    event 22: the result cannot be read as Done[Priced]: result.fee: Field required",
    ]


async def test_what_many_histories_have_in_common_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is told where it is first seen; other histories say how much of it they have."""
    monkeypatch.setattr(payments.capture, "timeout", timedelta(seconds=17))

    found = await check([CLEAN, replace(CLEAN, name="again")], workflows=[Checkout])

    change = "schedule payments.capture would be otherwise now: start_to_close_timeout = 10.0 becomes 17.0"
    assert list(told(found)) == [
        "clean  replays, changed  (Checkout, 41 events)",
        f"    event 20: {change}",
        "again  replays, changed  (Checkout, 41 events)",
        "    1 more of what is said above",
        "2 histories: 2 fit the code, 0 do not; 2 fit and would do something otherwise now",
    ]


def test_a_recording_is_written_as_it_was_read(tmp_path: Path) -> None:
    """Reading and writing a history changes nothing, and its payloads can be read by a person."""
    file = write(CLEAN, tmp_path)

    assert file.read_text() == (HISTORIES / "checkout/clean.json").read_text()
    assert '"order_id": "ORDER-1"' in file.read_text()
    assert read(file, folder=tmp_path) == CLEAN


def test_temporal_s_own_json_is_read(tmp_path: Path) -> None:
    """A history saved by Temporal's command line or Web UI is taken as it is."""
    file = tmp_path / "saved.json"
    file.write_text(CLEAN.history.to_json())

    assert read(file).events == CLEAN.events


@pytest.mark.parametrize("text", ["", "[]", '{"events": []}', '{"events": [{"eventId": "1"}]}'])
def test_what_is_no_history_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no history is an error with its name, not a history without events."""
    file = tmp_path / "wrong.json"
    file.write_text(text)

    with pytest.raises(DefinitionError, match="wrong"):
        read(file)


def test_the_points_of_a_run_are_its_workflow_tasks() -> None:
    """A run in flight ends where a workflow task is taken up."""
    first, second, *_ = CLEAN.tasks

    assert first == 3
    assert [event.event_id for event in CLEAN.until(second).events] == list(range(1, second + 1))


@pytest.mark.slow
async def test_recording_again_gives_the_same_file(tmp_path: Path) -> None:
    """The simulation's histories are the same each time, so that a diff shows what has changed."""
    files = await record(CHECKOUT, tmp_path, scenarios=["clean"])

    assert [file.read_text() for file in files] == [(HISTORIES / "checkout/clean.json").read_text()]


@pytest.mark.slow
async def test_a_cover_leaves_out_what_adds_nothing() -> None:
    """Of runs that look alike to a workflow the smallest is kept, the clean one first."""
    runs = [await run_scenario(CHECKOUT, scenario) for scenario in (
        "payments.authorize#1:refused", "inventory.reserve#1:held", "clean", "inventory.reserve#1:cancel_during"
    )]  # fmt: skip

    kept = [str(found.scenario) for found in cover([*runs, *runs])]

    assert kept[0] == "clean"
    assert len(kept) == len(set(kept))
    assert "payments.authorize#1:refused" in kept


@pytest.mark.slow
def test_the_command_says_and_exits(capsys: pytest.CaptureFixture[str]) -> None:
    """`kit replay` prints a line for each history and the sum; its document has the same."""
    assert run(["replay", str(HISTORIES)]) == 0
    text = capsys.readouterr().out
    assert run(["replay", "check", str(HISTORIES), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)

    assert (
        text.splitlines()[-1]
        == f"{len(document['histories'])} histories: {len(document['histories'])} fit the code, 0 do not"
    )
    assert all(one["fits"] and one["unchanged"] for one in document["histories"])


def test_strict_fails_on_what_fits_and_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A change on purpose passes, unless one asks for none."""
    monkeypatch.setattr(inventory.reserve, "timeout", timedelta(seconds=17))
    clean = str(HISTORIES / "checkout/clean.json")

    assert (run(["replay", clean]), run(["replay", clean, "--strict"])) == (0, 1)
    assert "becomes 17.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["no/such/folder"], ["--address", "localhost:1"], ["--query", "x", "--address", "localhost:1"]]
)
def test_a_check_of_nothing_is_an_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is not there, or cannot be reached, is exit code 2: nothing was checked."""
    assert run(["replay", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_differences_have_a_place() -> None:
    """What is dropped, made up and changed is told with its path."""
    was: Any = {"a": 1, "b": {"c": [1, 2]}, "same": None}
    now: Any = {"a": True, "b": {"c": [1, 3]}, "d": 0, "same": None}

    assert [str(difference) for difference in compare(was, now)] == [
        "a = 1 becomes True", "b.c[1] = 2 becomes 3", "d, which is not there, becomes 0"
    ]  # fmt: skip
