"""The contracts of the reference service."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from activities.payments import contract as payments
from kit.contract import Effect
from kit.testing.gates.contracts import FILE, RULES, Lock, Service, Severity, check
from temporal.app import CONNECTORS, WORKFLOWS, App
from temporal.settings import Settings
from tests.docs.pages import ROOT, plain, rows
from tests.house._checkout import CHECKOUT


def test_the_committed_lock_says_what_the_code_says() -> None:
    """The lock in the repository is that of the code in the repository; `kit contracts lock` writes it."""
    verdict = check(Lock.read(CHECKOUT / FILE), Service(WORKFLOWS, CONNECTORS))

    assert [str(finding) for finding in verdict.findings] == []
    assert not verdict.stale


def test_the_lock_holds_every_operation_with_a_sample_key() -> None:
    """Each operation with an effect stands in the lock with sample keys, one of which has what keys escape."""
    lock = Lock.read(CHECKOUT / FILE)

    assert payments.capture.name in lock.operations
    for operation in lock.operations.values():
        if operation.effect is Effect.READ:
            continue
        keys = [sample.key for sample in operation.samples]
        assert all(keys)
        assert any("%3A" in key for key in keys)


async def test_the_listed_connectors_are_those_that_the_app_connects(tmp_path: Path) -> None:
    """What the gates read without settings is what the workers run with them."""
    settings = Settings(
        ledger_url=f"sqlite:///{tmp_path / 'effects.db'}",
        shop_url=f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}",
        payments_key=SecretStr("sk_test_1"),
        stock_url="http://127.0.0.1:9",
        fulfilment_url="http://127.0.0.1:9",
        fulfilment_secret=SecretStr("whsec_c2VjcmV0"),
        smtp_host="127.0.0.1",
        build_id="tests",
    )

    async with App(settings.environment()).connectors() as connectors:
        assert {type(connector) for connector in connectors} == set(CONNECTORS)


@pytest.mark.parametrize("severity", Severity)
def test_the_reference_lists_every_change(severity: Severity) -> None:
    """The tables of changes are those of the code, in its order."""
    listed = [
        [plain(cell) for cell in row] for row in rows(ROOT / "docs/reference/contract-lock.md", severity.capitalize())
    ]

    assert listed == [
        [change.value, plain(rule.reason), plain(rule.fix)]
        for change, rule in RULES.items()
        if rule.severity is severity
    ]
