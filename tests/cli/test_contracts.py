"""`kit contracts`: the lock of a service, from the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kit.cli.main import run
from tests.cli.conftest import WriteService

TABLE = '[tool.kit]\nworkflows = "service:workflows"\nconnectors = "service:connectors"\n'
CODE = """
from datetime import timedelta

from temporalio import workflow

from kit import Model, SagaWorkflow
from kit.contract import Dependency, Effect, Once, Operation
from kit.worker import Connector

class Order(Model):
    order_id: str

class Receipt(Model):
    number: str

SHOP = Dependency(name="shop", owner="shop-team", settle=timedelta(seconds=5))
sell = Operation("shop.sell", Order, Receipt, dependency=SHOP, effect=Effect.IRREVERSIBLE,
    once=Once.never_twice(), key="sell:{order_id}", timeout=timedelta(seconds=10))

class Shop(Connector):
    @sell.action
    async def sell(self, request, token): ...

@workflow.defn
class Selling(SagaWorkflow, owner="shop-team", uses=(sell,)):
    @workflow.run
    async def run(self, order: Order) -> Receipt: ...

workflows, connectors = (Selling,), (Shop,)
"""
BROKEN = CODE.replace("sell:{order_id}", "sold:{order_id}")
SLOWER = CODE.replace("timeout=timedelta(seconds=10)", "timeout=timedelta(seconds=20)")


@pytest.fixture
def service(write_service: WriteService, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service, and the current folder in it."""
    folder = write_service(TABLE, CODE)
    monkeypatch.chdir(folder)
    return folder


def _change(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "service.py").write_text(code, encoding="utf-8")
    monkeypatch.delitem(__import__("sys").modules, "service", raising=False)


def test_without_a_lock_nothing_is_compared(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing lock is exit code 2, with the command that writes it."""
    code = run(["contracts", "check"])

    assert code == 2
    assert "write it with `kit contracts lock`" in capsys.readouterr().err


def test_what_was_locked_holds(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that has just been locked passes."""
    assert run(["contracts", "lock"]) == 0

    assert run(["contracts", "check"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "contracts.lock is written: 1 operation, 1 workflow.",
        "The contracts hold: 1 operation, 1 workflow.",
    ]


def test_a_breaking_change_fails_with_its_reason(
    service: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed key is exit code 1: what it was, what it is, why it matters and what to do."""
    run(["contracts", "lock"])
    _change(service, BROKEN, monkeypatch)
    capsys.readouterr()

    code = run(["contracts", "check"])

    told = capsys.readouterr().out
    assert code == 1
    assert told.startswith(
        "BREAKING key-changed: shop.sell\n"
        "  was  sell:{order_id} (sell:order-id-1)\n"
        "  now  sold:{order_id} (sold:order-id-1)\n"
        "  why  an effect that has happened"
    )
    assert "  fix  leave this operation as it is" in told


def test_a_breaking_change_is_written_only_when_it_is_accepted(
    service: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lock is left as it was until somebody says why; what they say stands in it."""
    run(["contracts", "lock"])
    before = (service / "contracts.lock").read_text()
    _change(service, BROKEN, monkeypatch)

    refused = run(["contracts", "lock"])
    after = (service / "contracts.lock").read_text()
    accepted = run(["contracts", "lock", "--accept", "no run is open"])

    assert (refused, accepted) == (1, 0)
    assert after == before
    assert "no run is open" in (service / "contracts.lock").read_text()
    assert run(["contracts", "check"]) == 0


def test_a_harmless_change_asks_for_a_new_lock(
    service: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lock that is behind the code is exit code 1, and one command brings it up to date."""
    run(["contracts", "lock"])
    _change(service, SLOWER, monkeypatch)

    behind = run(["contracts", "check"])
    told = capsys.readouterr().out

    assert behind == 1
    assert "HARMLESS timeout-lengthened: shop.sell" in told
    assert "then: kit contracts lock" in told
    assert run(["contracts", "lock"]) == 0
    assert run(["contracts", "check"]) == 0


def test_the_document_says_the_same(
    service: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` has every finding with its reason and fix."""
    run(["contracts", "lock"])
    _change(service, BROKEN, monkeypatch)
    capsys.readouterr()

    code = run(["contracts", "check", "--json"])

    document = json.loads(capsys.readouterr().out)
    assert (code, document["ok"], document["stale"]) == (1, False, True)
    (finding,) = document["findings"]
    assert (finding["change"], finding["severity"], finding["subject"]) == ("key-changed", "breaking", "shop.sell")
    assert finding["reason"]
    assert finding["fix"]


def test_strict_fails_on_what_needs_care(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A careful change passes against the committed lock unless one is strict."""
    run(["contracts", "lock"])
    _commit(service)
    _change(service, CODE.replace("order_id: str", "order_id: str\n    note: str = ''"), monkeypatch)
    run(["contracts", "lock"])

    assert run(["contracts", "check", "--base", "HEAD"]) == 0
    assert run(["contracts", "check", "--base", "HEAD", "--strict"]) == 1


def test_the_committed_lock_is_what_runs_in_flight_were_promised(
    service: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lock that was written again hides nothing from `--base`, but what it accepts in writing."""
    run(["contracts", "lock"])
    _commit(service)
    _change(service, BROKEN, monkeypatch)
    (service / "contracts.lock").unlink()
    run(["contracts", "lock"])

    hidden = run(["contracts", "check"])
    found = run(["contracts", "check", "--base", "HEAD"])
    run(["contracts", "lock", "--base", "HEAD", "--accept", "drained"])
    capsys.readouterr()
    accepted = run(["contracts", "check", "--base", "HEAD"])

    assert (hidden, found, accepted) == (0, 1, 0)
    assert "accepted key-changed: shop.sell\n  why  drained" in capsys.readouterr().out


def test_a_base_that_git_does_not_have_is_said(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A revision that was not fetched is exit code 2 with git's own words."""
    run(["contracts", "lock"])
    _commit(service)

    assert run(["contracts", "check", "--base", "nowhere"]) == 2
    assert "git cannot show it" in capsys.readouterr().err


def _commit(folder: Path) -> None:
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "locked"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
