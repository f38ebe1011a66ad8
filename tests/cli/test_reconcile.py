"""``kit reconcile`` and ``kit incident``, before they reach a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.cli.main import run
from tests.reconciliation import service


@pytest.fixture(autouse=True)
def _service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(service.PROJECT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["reconcile", "--invariant", "all is well"], "invariant 'all is well': there are: a captured payment has"),
        (["reconcile", "--workflow", "Audit"], "reconciliation 'Audit': the service has Reconcile. Fix: name one"),
        (["reconcile", "--schedule", "often"], "--schedule 'often': it is no time. Fix: write e.g. 15m"),
        (["incident", "open", "x", "--why", "y", "--invariant", "all is well"], "invariant 'all is well': there are:"),
    ],
)
def test_a_name_with_a_typo_is_refused(command: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What there is not is refused with what there is, and nothing is started."""
    assert run(command) == 2
    assert said in capsys.readouterr().err


def test_the_invariants_are_listed_with_who_answers_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is told with its severity, its owner, its systems, and what is done when it does not hold."""
    assert run(["reconcile", "--list"]) == 0
    assert (
        "a captured payment has an order\n"
        "  critical, checkout-team: orders with payments taken; repairs by payments.refund, or asks\n"
    ) in capsys.readouterr().out
