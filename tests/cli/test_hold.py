"""``kit hold``: what it says beforehand, what it switches, and how it exits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from kit.cli.main import run
from kit.ledger import SqliteLedger
from tests.cli.conftest import WriteService
from tests.shops import SERVICE, TABLE

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

Type = Callable[..., Awaitable[tuple[int, str]]]
MAIL = ("hold", "on", "effect", "irreversible", "--reason", "the mail provider sends twice", "--who", "ada")


@pytest.fixture
async def kit(
    server: WorkflowEnvironment,
    write_service: WriteService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Type:
    """Types a command into the reference service, with a ledger of the test's own; returns exit code and words."""
    address = server.client.service_client.config.target_host
    monkeypatch.chdir(write_service(TABLE, SERVICE.format(address=address, folder=tmp_path)))

    async def typed(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(run, words)
        told = capsys.readouterr()
        return code, told.out or told.err

    return typed


async def test_on_without_yes_says_what_it_would_stop_and_switches_nothing(kit: Type) -> None:
    """The answer names the workflows, their open runs, and each operation that would wait."""
    code, told = await kit(*MAIL, "--until", "2h")
    _, listed = await kit("hold", "list")

    assert code == 0
    assert "hold on effect 'irreversible' (the mail provider sends twice; ada), until " in told
    assert "at execute" in told
    assert "email.send_receipt, fulfilment.request_shipment" in told
    assert told.endswith("Nothing is switched. Add --yes to do it.\n")
    assert listed == "No hold is on.\n"


async def test_hold_is_switched_on_listed_and_switched_off(kit: Type) -> None:
    """What is on is listed; off says what was lifted; the history keeps who and why of both."""
    await kit(*MAIL, "--yes")
    _, listed = await kit("hold", "list", "--json")
    lifted, told = await kit("hold", "off", "effect", "irreversible", "--reason", "mended", "--who", "bob")
    again, _ = await kit("hold", "off", "effect", "irreversible", "--reason", "mended")
    _, history = await kit("hold", "list", "--history", "--json")

    (one,) = json.loads(listed)
    assert {key: one[key] for key in ("scope", "name", "who", "gates", "until", "accepts", "undo")} == {
        "scope": "effect",
        "name": "irreversible",
        "who": "ada",
        "gates": ["execute"],
        "until": None,
        "accepts": False,
        "undo": False,
    }
    assert (lifted, again) == (0, 1)
    assert told.startswith("Switched off: hold on effect 'irreversible'")
    assert [(each["on"], each["who"], each["reason"]) for each in json.loads(history)] == [
        (False, "bob", "mended"),
        (True, "ada", "the mail provider sends twice"),
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("operation", "payments.captur"), "did you mean 'payments.capture'?"),
        (("dependency", "pay"), "so it would stop nothing"),
        (("effect", "read"), "this service has no such effect"),
        (("workflow", "Checkout", "--until", "tomorrow"), "it is neither a time nor a length"),
        (("workflow", "Checkout", "--until", "2020-01-01T00:00:00Z"), "before it begins"),
    ],
)
async def test_hold_that_would_stop_nothing_is_refused(kit: Type, words: tuple[Any, ...], told: str) -> None:
    """A kill switch on a name with a typo would kill nothing, and nobody would know."""
    code, said = await kit("hold", "on", *words, "--reason", "a test", "--yes")

    assert code == 2
    assert told in said


async def test_hold_is_switched_on_while_temporal_cannot_be_reached(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The switch is in the ledger's database: only how many runs are open cannot be said."""
    monkeypatch.chdir(write_service(TABLE, SERVICE.format(address="127.0.0.1:9", folder=tmp_path)))

    code = await asyncio.to_thread(run, ["hold", "on", "operation", "payments.capture", "--reason", "fire", "--yes"])

    told = capsys.readouterr().out
    assert code == 0
    assert "Checkout (? open): payments.capture" in told
    async with SqliteLedger(tmp_path / "effects.db") as ledger:
        (hold,) = await ledger.holds.active()
    assert hold.name == "payments.capture"


async def test_tenant_that_no_run_can_have_is_refused(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where no workflow says whose run it is, a hold on a tenant would stop nothing."""
    alone = TABLE.replace("temporal.app:WORKFLOWS", "service:WORKFLOWS")
    code = SERVICE + "\n\nfrom workflows.checkout import Checkout\n\nWORKFLOWS = (Checkout,)\n"
    monkeypatch.chdir(write_service(alone, code.format(address="127.0.0.1:9", folder=tmp_path)))

    ended = await asyncio.to_thread(run, ["hold", "on", "tenant", "acme", "--reason", "a test", "--yes"])

    assert ended == 2
    assert "no workflow of this service says whose run it is" in capsys.readouterr().err
