"""`kit map`: the effects of a workflow, without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.cli.main import run
from tests.cli.conftest import WriteService

DESK = Path(__file__).with_name("desk.py").read_text(encoding="utf-8")
TABLE = '[tool.kit]\nworkflows = "service:WORKFLOWS"\n'
CODE = """
from datetime import timedelta

from temporalio import workflow

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow

SHOP = Dependency(name="shop", owner="team", settle=timedelta(0))


class Ask(Model):
    id: str


charge = Operation(
    "shop.charge", Ask, Ask, dependency=SHOP, effect=Effect.COMPENSATABLE, once=Once.by_probe(), key="charge:{id}",
    timeout=timedelta(seconds=1),
)


@workflow.defn(name="Buys")
class Buying(SagaWorkflow, owner="team"):
    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.pivot(charge, ask)


WORKFLOWS = (Buying,)
"""


def test_the_map_is_printed_in_order_with_keys_and_undo(capsys: pytest.CaptureFixture[str]) -> None:
    """`kit map Checkout` says what each step does, how it is kept to one, and how it is undone."""
    code = run(["map", "Checkout"])

    told = capsys.readouterr().out
    assert code == 0
    assert told.index("inventory.reserve") < told.index("payments.capture") < told.index("email.send_receipt")
    assert "key capture:{order_id}" in told
    assert "undo: StripePayments.refund, look-up: StripePayments.find_capture" in told
    assert "You can roll back until payments.capture" in told


def test_the_map_can_be_a_flow_chart(capsys: pytest.CaptureFixture[str]) -> None:
    """`--mermaid` prints the chart and nothing else, for a page of the docs."""
    code = run(["map", "Checkout", "--mermaid"])

    told = capsys.readouterr().out
    assert (code, told.splitlines()[0]) == (0, "flowchart TD")
    assert "PIVOT" in told


def test_a_misspelt_workflow_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the name that was meant."""
    code = run(["map", "Chekout"])

    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert "write 'Checkout', if that is what you mean" in told.err


def test_a_service_without_connectors_has_a_map(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The contracts say most of it; a workflow is called by the name that Temporal knows."""
    monkeypatch.chdir(write_service(TABLE, CODE))

    code = run(["map", "Buys"])

    told = capsys.readouterr().out
    assert code == 0
    assert "shop.charge  compensatable, once by probe" in told
    assert "has an undo" in told


def test_outside_a_service_the_map_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to map."""
    monkeypatch.chdir(tmp_path)

    assert run(["map", "Checkout"]) == 2
    assert capsys.readouterr().err.startswith("error: folder ")


def test_a_service_that_has_only_subjects_has_a_map(
    write_service: WriteService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever can verify a workflow can see its map: the subject's world says how each effect is undone."""
    monkeypatch.chdir(write_service('[tool.kit]\nsubjects = "service:SUBJECTS"\n', DESK))

    code = run(["map", "Buys"])

    told = capsys.readouterr().out
    assert code == 0
    assert "undo: DeskConnector.release, look-up: DeskConnector.find_hold" in told
