"""How late a run may be without its mattering."""

import sys
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from kit.testing import Subject, Wire, World
from kit.testing.engines.horizon import horizon
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
        ("await workflow.sleep(5)", "defn", False),
        ("return sale.now", "defn", False),
    ],
)
def test_saga_that_asks_for_the_time_has_no_horizon(
    code: str, imported: str, asks: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state is told with the time, so that it is never taken for the state of a run that is elsewhere in it."""
    source = tmp_path / "selling.py"
    source.write_text(SAGA.format(code=code, imported=imported))
    module = ModuleType("selling")
    module.__file__ = str(source)
    monkeypatch.setitem(sys.modules, "selling", module)
    exec(compile(source.read_text(), source, "exec"), module.__dict__)  # noqa: S102 - a source of this test

    found = horizon(Subject(module.Sale, None, nothing))

    assert (found is None) == asks
