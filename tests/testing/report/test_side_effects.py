"""The side-effect map, its graphs, and what follows from it for a rollback."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from temporalio import workflow

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow
from kit.errors import DefinitionError
from kit.testing.report import claims, mermaid, outline, side_effects
from kit.testing.report.graph import rows, svg
from kit.testing.report.rollback import Answer
from kit.workflow import Phase
from temporal.app import CONNECTORS
from tests.testing.report.sample import clean, summary
from workflows.checkout import Checkout

SHOP = Dependency(name="shop", owner="team", settle=timedelta(0))


class Ask(Model):
    id: str


def operation(name: str, effect: Effect, once: Once | None, key: str | None) -> Operation[Ask, Ask]:
    """An operation of the shop."""
    return Operation(name, Ask, Ask, dependency=SHOP, effect=effect, once=once, key=key, timeout=timedelta(seconds=1))


look = operation("shop.look", Effect.READ, None, None)
charge = operation("shop.charge", Effect.COMPENSATABLE, Once.by_probe(), "charge:{workflow_id}")
post = operation("shop.post", Effect.RECONCILABLE, Once.by_probe(), "post:{id}")
late = operation("shop.late", Effect.REVERSIBLE, Once.by_state(), "late:{id}")


@workflow.defn(name="Buys")
class Buying(SagaWorkflow, owner="team", uses=(late,)):
    """Has no pivot, a key with the run in it, an effect without undo, and an operation chosen at run time."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.step(look, ask)
        await self.step(charge, ask)
        await self.step(post, ask)


def test_the_map_has_the_checkout_in_order_with_its_phases() -> None:
    """What follows the pivot in the source only goes forward; what is held back comes last."""
    found = side_effects(Checkout)

    assert [(effect.operation.name, effect.phase) for effect in found.effects] == [
        ("inventory.reserve", Phase.BODY),
        ("payments.authorize", Phase.BODY),
        ("orders.create", Phase.BODY),
        ("payments.capture", Phase.PIVOT),
        ("carts.complete", Phase.FORWARD),
        ("fulfilment.request_shipment", Phase.AFTER_COMMIT),
        ("email.send_receipt", Phase.AFTER_COMMIT),
    ]


def test_what_runs_at_once_is_one_group() -> None:
    """The two of `parallel`, and the two that are held back."""
    assert [len(group) for group in side_effects(Checkout).groups] == [2, 1, 1, 1, 2]


def test_connectors_say_how_an_effect_is_undone_and_looked_up() -> None:
    """The methods are named as they are written."""
    found = {effect.operation.name: effect for effect in side_effects(Checkout, connectors=CONNECTORS).effects}

    assert found["inventory.reserve"].undo == "HttpInventory.release"
    assert found["inventory.reserve"].probe == "HttpInventory.find"
    assert found["email.send_receipt"].undo is None


def test_a_clean_run_says_what_was_taken() -> None:
    """Without one nothing is said; with one, each operation was taken or not."""
    run = replace(clean(), summary=summary())

    taken = {effect.operation.name for effect in side_effects(Checkout, clean=run).effects if effect.taken}

    assert taken == {"payments.capture"}
    assert {effect.taken for effect in side_effects(Checkout).effects} == {None}


def test_what_is_chosen_at_run_time_has_no_phase() -> None:
    """The source does not say where in the saga it comes."""
    (found,) = [effect for effect in side_effects(Buying).effects if effect.operation is late]

    assert found.phase is None


def test_a_workflow_that_is_no_saga_is_refused() -> None:
    """Nothing says what its activities do."""
    with pytest.raises(DefinitionError, match="it is no SagaWorkflow"):
        side_effects(int)


def test_the_graph_is_a_picture_with_words() -> None:
    """Every operation is a box that says its effect and its once-strategy; the pivot is marked."""
    root = ET.fromstring(svg(side_effects(Checkout, connectors=CONNECTORS)))  # noqa: S314 - our own words
    texts = ["".join(node.itertext()) for node in root.iter("text")]
    boxes = [node.get("class", "") for node in root.iter("rect")]

    assert len(boxes) == 7
    assert [box for box in boxes if "pivot" in box] == ["box compensatable pivot"]
    assert "reversible · once by probe" in texts
    assert "pivot: the point of no return" in texts
    assert "undo: StripePayments.refund" in texts


def test_no_box_of_the_graph_covers_another() -> None:
    """Boxes side by side and below each other keep their distance."""
    root = ET.fromstring(svg(side_effects(Checkout)))  # noqa: S314 - our own words
    places = [tuple(float(node.get(name, "")) for name in ("x", "y", "width", "height")) for node in root.iter("rect")]

    for index, (x, y, width, height) in enumerate(places):
        for left, top, _, _ in places[index + 1 :]:
            assert abs(left - x) >= width or abs(top - y) >= height


def test_the_flow_chart_marks_pivot_and_what_is_held_back() -> None:
    """The pivot is a hexagon; what is held back hangs on the last step by dotted arrows."""
    chart = mermaid(side_effects(Checkout)).splitlines()

    assert chart[0] == "flowchart TD"
    assert '    n4{{"payments.capture<br/>compensatable, once by key, 24 h<br/>PIVOT"}}' in chart
    assert [line.strip() for line in chart if "-.->" in line] == ["n5 -.-> n6", "n5 -.-> n7"]
    assert [line.strip() for line in chart if "-->" in line and "n3" in line] == ["n1 --> n3", "n2 --> n3", "n3 --> n4"]


def test_every_row_has_key_settle_time_and_owner() -> None:
    """The table of the page has a column for each fact."""
    (row,) = [row for row in rows(side_effects(Checkout, connectors=CONNECTORS)) if row[2] == "payments.capture"]

    assert row == (
        "pivot",
        row[1],
        "payments.capture",
        "compensatable",
        "by key, 24 h",
        "capture:{order_id}",
        "StripePayments.refund",
        "StripePayments.find_capture",
        "5 s",
        "payments-team",
    )


def test_the_outline_shows_what_runs_at_once() -> None:
    """A bracket holds the steps of one `parallel` together."""
    lines = outline(side_effects(Checkout, connectors=CONNECTORS)).splitlines()

    assert any(line.startswith("┌ inventory.reserve ") for line in lines)
    assert any(line.startswith("└ payments.authorize ") for line in lines)
    assert "  key capture:{order_id}" in [line[2:] for line in lines]


def test_the_checkout_can_be_taken_back_until_its_pivot() -> None:
    """The strip names the pivot, what must stay up after it, and what happens on a second start."""
    back, forward, restart, late_start = claims(side_effects(Checkout, connectors=CONNECTORS))

    assert (back.answer, back.text) == (
        Answer.YES,
        "You can roll back until payments.capture: cancel the run, and it undoes what it did.",
    )
    assert forward.text.startswith("After payments.capture a run only goes forward: keep this version's workers")
    assert "fulfilment.request_shipment and email.send_receipt cannot be taken back at all." in forward.because
    assert (restart.answer, late_start.answer) == (Answer.YES, Answer.LIMITED)
    assert late_start.text.startswith("The providers' keys protect for 24 h")
    assert any(reason.startswith("email.send_receipt: nothing can be looked up") for reason in late_start.because)


def test_a_key_with_the_run_in_it_makes_a_restart_unsafe() -> None:
    """A second start under another workflow id would issue the charge again, and the strip says so."""
    restart = claims(side_effects(Buying))[2]

    assert (restart.answer, restart.text) == (
        Answer.NO,
        "Not restartable under another workflow id: shop.charge would be issued again.",
    )


def test_an_effect_without_undo_needs_a_person_on_the_way_back() -> None:
    """What is only reconcilable is not taken back by itself."""
    back = claims(side_effects(Buying))[0]

    assert back.answer is Answer.LIMITED
    assert back.text == "You can roll back until it ends, but a person is asked about shop.post."


def test_look_ups_are_not_denied_where_they_are_not_known() -> None:
    """Without the connectors nobody can say that there is no look-up."""
    known = claims(side_effects(Checkout, connectors=CONNECTORS))[3]
    unknown = claims(side_effects(Checkout))[3]

    assert any("no look-up" in reason for reason in known.because)
    assert not any("look" in reason for reason in unknown.because)
