"""How late a run may be without its mattering."""

import sys
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from kit.testing import Subject, Wire, World
from kit.testing.engines.horizon import horizon, limits_approvals
from kit.workflow.approving import DEFAULT_WITHIN
from tests.testing.sweep.toy import TOY
from tests.worlds import CHECKOUT, FIVE_STEPS, TWO_STEPS

SAGA = """
from temporalio import workflow
from temporalio.workflow import {imported}
from kit import SagaWorkflow

class Sale(SagaWorkflow, owner="market"):
    async def run(self, sale):
        {code}
"""


ENTITY = """
from datetime import timedelta
from kit import Entity, EntityEvent, EntityWorkflow

class Account(EntityWorkflow[str, str], owner="market", deadline=timedelta(minutes=5), {rule}):
    async def run(self, account: Entity[str]) -> str:
        return await self.live(account)
    async def apply(self, event: EntityEvent[str]) -> None:
        pass
"""


def loaded(name: str, source: str, folder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of a source, as if it had been imported."""
    path = folder / f"{name}.py"
    path.write_text(source)
    module = ModuleType(name)
    module.__file__ = str(path)
    module.__package__ = name.rpartition(".")[0]
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - a source of this test
    return module


def nothing(wire: Wire) -> World:
    """Nobody asks for the world."""
    raise NotImplementedError


def test_saga_that_never_asks_for_the_time_has_until_its_deadline() -> None:
    """The shortest one of its sagas counts."""
    found = [horizon(subject) for subject in (TWO_STEPS, FIVE_STEPS)]

    assert found == [timedelta(minutes=10), timedelta(minutes=30)]
    assert horizon(CHECKOUT) == CHECKOUT.workflow.__saga__.deadline  # type: ignore[attr-defined] # a saga


def test_workflow_that_is_no_saga_may_ask_at_any_time() -> None:
    """Nothing is known of what it looks at."""
    assert horizon(TOY) is None


@pytest.mark.parametrize(
    ("code", "imported", "asks"),
    [
        ("return workflow.now()", "defn", True),
        ("return workflow.time_ns() // 10**9", "defn", True),
        ("return workflow.info().start_time", "defn", True),
        ("return now().date()", "now", True),
        ("return today.now()", "defn\nfrom temporalio import workflow as today", True),
        ("return today.time()", "defn\nimport temporalio.workflow as today", True),
        ("about = workflow.info()\n        return about.start_time", "defn", True),
        ("return about().workflow_start_time", "info as about", True),
        ("return asyncio.get_running_loop().time()", "defn\nimport asyncio", True),
        ("loop = get_event_loop()\n        return loop.time()", "defn\nfrom asyncio import get_event_loop", True),
        ("return time_ns()", "*", True),
        ("await workflow.sleep(5)", "defn", False),
        ("return sale.now", "defn", False),
    ],
)
def test_saga_that_asks_for_the_time_has_no_horizon(
    code: str, imported: str, asks: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state is told with the time, so that it is never taken for the state of a run that is elsewhere in it."""
    module = loaded("selling", SAGA.format(code=code, imported=imported), tmp_path, monkeypatch)

    found = horizon(Subject(module.Sale, None, nothing))

    assert (found is None) == asks


@pytest.mark.parametrize(
    ("imported", "called"), [("from .times import later", "later"), ("from . import times", "times.later")]
)
def test_what_a_saga_imports_from_beside_it_is_looked_at_too(
    imported: str, called: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package names its own modules by dots."""
    times = loaded(
        "shop.times", "from temporalio import workflow\ndef later():\n    return workflow.now()", tmp_path, monkeypatch
    )
    monkeypatch.setitem(sys.modules, "shop", package := ModuleType("shop"))
    package.__path__, package.times = [], times  # type: ignore[attr-defined] # a package is a module with a path
    module = loaded(
        "shop.selling", imported + SAGA.format(code=f"return {called}()", imported="defn"), tmp_path, monkeypatch
    )

    found = horizon(Subject(module.Sale, None, nothing))

    assert found is None


@pytest.mark.parametrize(
    ("rule", "expected"), [("window=5", timedelta(minutes=5)), ("wait_for_missing=timedelta(seconds=15)", None)]
)
def test_entity_that_loses_patience_has_no_horizon(
    rule: str, expected: timedelta | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which event comes next depends on how long a missing one was waited for."""
    module = loaded("accounts", ENTITY.format(rule=rule), tmp_path, monkeypatch)

    found = horizon(Subject(module.Account, module.Entity[str](state=""), nothing))

    assert found == expected


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("await self.approval(pay, sale, question='?', within=SHORT)", True),
        ("await self.approval(pay, sale, **asked)", True),
        ("await self.approval(pay, sale, question='?')", False),
    ],
)
def test_approval_may_count_for_a_time_of_its_own(
    code: str, limits: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says nothing of it counts for longer than any horizon."""
    module = loaded("selling", SAGA.format(code=code, imported="defn"), tmp_path, monkeypatch)
    subject = Subject(module.Sale, None, nothing)

    found = limits_approvals(subject)

    assert found == limits
    assert horizon(subject) is not None


def test_no_horizon_is_further_than_an_approval_counts(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the deadline of a saga is."""
    endless = SAGA.replace('owner="market"', 'owner="market", deadline=timedelta(days=30)')
    source = "from datetime import timedelta" + endless.format(code="return sale", imported="defn")
    module = loaded("selling", source, tmp_path, monkeypatch)

    found = horizon(Subject(module.Sale, None, nothing))

    assert found == DEFAULT_WITHIN
