"""The demo's verdict on the account: it must be able to say that something is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from kit.testing.sandbox import CallRecord, EffectKind, EffectRecord, FaultKind, Operation, Provider
from temporal.demo.accounts import Accounts, Sync, judge
from temporal.demo.evidence import Seen

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DONE: tuple[tuple[Provider, EffectKind, dict[str, str]], ...] = (
    (Provider.CRM, EffectKind.UPDATED, {"industry": "manufacturing", "enrichment": "enriched"}),
    (Provider.CRM, EffectKind.UPDATED, {"plan": "starter", "status": "active"}),
    (Provider.CRM, EffectKind.UPDATED, {"plan": "pro"}),
    (Provider.BILLING, EffectKind.PLAN_CHANGED, {"to": "price_pro"}),
    (Provider.TICKETS, EffectKind.OPENED, {"subject": "welcome"}),
    (Provider.ENTITLEMENTS, EffectKind.ENTITLED, {"plan": "pro"}),
    (Provider.SMTP, EffectKind.SENT, {}),
    (Provider.CRM, EffectKind.UPDATED, {"plan": "enterprise"}),
    (Provider.CRM, EffectKind.UPDATED, {"plan": "pro"}),
)


def effects(done: tuple[tuple[Provider, EffectKind, dict[str, str]], ...]) -> tuple[EffectRecord, ...]:
    """What the systems wrote down, in this order."""
    return tuple(
        EffectRecord(
            sequence=at, provider=provider, kind=kind, reference="a", object_id=str(at), at=NOW, details=details
        )
        for at, (provider, kind, details) in enumerate(done, start=1)
    )


def well() -> Accounts:
    """An account of which everything is well."""
    call = CallRecord(
        sequence=1,
        provider=Provider.CRM,
        operation=Operation.WRITE_COMPANY,
        method="POST",
        path="/",
        reference="a",
        at=NOW,
        fault=FaultKind.RATE_LIMIT,
    )
    lost = call.model_copy(update={"fault": FaultKind.DROP_REPLY})
    return Accounts(
        account_id="a",
        answers=["200 accepted"] * 2 + ["401 bad_signature"] + ["200 accepted"] * 3,
        seen=Seen(effects(DONE), (call, lost)),
        company={"plan": "pro", "status": "active"},
        sync=Sync(runs=1, counts={"applied": 4, "duplicate": 1}, drift=(("plan", "crm", "enterprise", "pro"),)),
        problems=[],
    )


def _see(found: Accounts, *numbers: int) -> None:
    done = tuple(DONE[number] for number in numbers)
    found.seen = dataclasses.replace(found.seen, effects=effects(done))


WRONG: dict[str, Callable[[Accounts], None]] = {
    "the forged one was believed": lambda found: found.answers.__setitem__(2, "200 accepted"),
    "a second run": lambda found: setattr(found, "sync", dataclasses.replace(found.sync, runs=2)),
    "applied twice": lambda found: found.sync.counts.update(applied=5),
    "no duplicate": lambda found: found.sync.counts.update(duplicate=0),
    "the colleague's word taken": lambda found: setattr(found, "sync", dataclasses.replace(found.sync, drift=())),
    "no trouble met": lambda found: setattr(found, "seen", dataclasses.replace(found.seen, calls=())),
    "written twice for a lost reply": lambda found: _see(found, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8),
    "not written back": lambda found: _see(found, 0, 1, 2, 3, 4, 5, 6, 7),
    "billed twice": lambda found: _see(found, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8),
    "told before it was allowed": lambda found: _see(found, 0, 1, 2, 3, 4, 6, 5, 7, 8),
    "no ticket": lambda found: _see(found, 0, 1, 2, 3, 5, 6, 7, 8),
    "the CRM ends with another plan": lambda found: found.company.update(plan="enterprise"),
}


def test_account_that_is_well_has_no_problem() -> None:
    """What the records must say when everything went as promised is no problem."""
    assert judge(well()) == []


@pytest.mark.parametrize("what", WRONG)
def test_whatever_else_the_records_say_is_a_problem(what: str) -> None:
    """Each way in which it may be different is told."""
    found = well()

    WRONG[what](found)

    assert judge(found) != []


def test_account_of_which_nothing_is_known_is_not_well() -> None:
    """A play that did not end is a finding, not an empty one."""
    found = Accounts(account_id="a")

    assert [well for well, _ in found.lines] == [False]
    assert found.block[1] == "✗ a: not known"
