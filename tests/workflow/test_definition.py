"""A saga class that cannot be safe is refused when it is built, in words that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kit import DefinitionError, Model, Once, Operation, SagaWorkflow
from kit.workflow import Phase
from tests.workflow.world import Ask, car, card, flight, hotel, letter, mail, operation

brief: Operation[Any, Any] = operation("brief.send", once=Once.by_key(ttl=timedelta(hours=2)))


class Shelf:
    """Where operations stand, by name."""

    flight = flight
    words = "no operation"


def message(build: Callable[[], object]) -> str:
    """The words with which a class is refused."""
    with pytest.raises(DefinitionError) as caught:
        build()
    return str(caught.value)


def test_an_owner_is_needed() -> None:
    """A saga names the team that is asked about its runs."""

    def build() -> None:
        class Orphan(SagaWorkflow): ...

    assert message(build) == "saga 'Orphan': owner='' is empty. Fix: name the team that is asked about its runs."


def test_a_blank_owner_is_none() -> None:
    """Blanks are no owner."""

    def build() -> None:
        class Blank(SagaWorkflow, owner="  "): ...

    assert message(build) == "saga 'Blank': owner='  ' is empty. Fix: name the team that is asked about its runs."


def test_the_deadline_must_be_positive() -> None:
    """A deadline of nothing leaves no time for a step."""

    def build() -> None:
        class Late(SagaWorkflow, owner="me", deadline=timedelta(0)): ...

    assert message(build) == (
        "saga 'Late': deadline=datetime.timedelta(0) must be positive. Fix: give the budget of its body."
    )


def test_the_replay_window_must_not_be_negative() -> None:
    """A start cannot come again before the run."""

    def build() -> None:
        class Back(SagaWorkflow, owner="me", replay_window=timedelta(hours=-1)): ...

    assert message(build) == (
        "saga 'Back': replay_window=datetime.timedelta(days=-1, seconds=82800) is negative. "
        "Fix: use timedelta(0) or more."
    )


def test_nothing_irreversible_before_the_pivot() -> None:
    """An irreversible operation belongs after the pivot, at it, or after commit."""

    def build() -> None:
        class Hasty(SagaWorkflow, owner="me"):
            async def run(self, ask: Ask) -> None:
                await self.step(flight, ask)
                await self.step(mail, ask)
                await self.pivot(card, ask)

    assert message(build) == (
        f"saga 'Hasty': 'mail.send' (line {line_of('await self.step(mail, ask)')}) is IRREVERSIBLE and comes before "
        "the pivot. Fix: hold it back with self.after_commit(...), make it the pivot, or move it after the pivot."
    )


def test_irreversible_at_the_pivot_after_it_and_after_commit() -> None:
    """At the pivot, after it, and after commit an irreversible operation is in its place."""

    class Patient(SagaWorkflow, owner="me"):
        async def run(self, ask: Ask) -> None:
            self.after_commit(letter, ask)
            await self.pivot(mail, ask)
            await self.step(letter, ask)

    assert [use.phase for use in Patient.__saga__.uses] == [Phase.AFTER_COMMIT, Phase.PIVOT, Phase.BODY]


def test_a_key_must_outlive_the_run_and_its_replay() -> None:
    """A provider must remember a key for the deadline and the replay window."""

    def build() -> None:
        class Long(SagaWorkflow, owner="me"):
            async def run(self, ask: Ask) -> None:
                await self.step(brief, ask)

    assert message(build) == (
        "saga 'Long': 'brief.send' keeps its key for 2:00:00, shorter than deadline + replay window "
        "(1:00:00 + 12:00:00). Fix: shorten deadline= or replay_window=, or declare how the operation is looked up "
        "(Once.by_probe())."
    )


def test_a_short_saga_may_use_a_short_key() -> None:
    """The key's time is compared with what the saga declares."""

    class Short(SagaWorkflow, owner="me", replay_window=timedelta(hours=1)):
        async def run(self, ask: Ask) -> None:
            await self.step(brief, ask)

    assert list(Short.__saga__.operations) == ["brief.send"]


def test_an_operation_chosen_at_run_time_must_be_declared() -> None:
    """What cannot be seen in the source is refused unless uses= lists what may come."""

    def build() -> None:
        class Chooser(SagaWorkflow, owner="me"):
            async def run(self, ask: Ask) -> None:
                chosen = {"a": flight}["a"]
                await self.step(chosen, ask)

    assert message(build) == (
        f"saga 'Chooser': line {line_of('await self.step(chosen, ask)')}: which operation 'chosen' is cannot be seen "
        "from the source. Fix: name the operation where it is used, or list what may come in uses=(...)."
    )


def test_what_is_no_operation_cannot_be_seen() -> None:
    """A name that is something else than an operation is refused like one that is not there."""

    def build() -> None:
        class Wordy(SagaWorkflow, owner="me"):
            async def run(self, ask: Ask) -> None:
                await self.step(Shelf.words, ask)  # type: ignore[arg-type] # the mistake

    assert "which operation 'Shelf.words' is cannot be seen" in message(build)


def test_declared_operations_count() -> None:
    """What uses= lists is used, once, wherever else it is seen."""

    class Declared(SagaWorkflow, owner="me", uses=(flight, hotel)):
        async def run(self, ask: Ask) -> None:
            for each in (flight, hotel):
                await self.step(each, ask)
            await self.step(flight, ask)

    assert [(use.operation.name, use.phase) for use in Declared.__saga__.uses] == [
        ("flight.book", Phase.BODY),
        ("hotel.book", Phase.FORWARD),
    ]


def test_operations_are_found_wherever_the_code_would_find_them() -> None:
    """Dotted names, closures, pairs of a parallel, other methods and bases are all looked at."""
    enclosed = card

    class Base(SagaWorkflow, owner="me"):
        async def tidy(self, ask: Ask) -> None:
            self.after_commit(mail, ask)

    class Found(Base):
        async def run(self, ask: Ask) -> None:
            await self.parallel((Shelf.flight, ask), (hotel, ask))
            await self.more(ask)
            await self.pivot(enclosed, ask)

        async def more(self, ask: Ask) -> None:
            await self.step(car, ask)

    assert set(Found.__saga__.operations) == {"flight.book", "hotel.book", "card.charge", "car.book", "mail.send"}


def test_other_calls_are_none_of_its_business() -> None:
    """Methods of the same name elsewhere use nothing."""

    class Other(SagaWorkflow, owner="me"):
        async def run(self, ask: Ask) -> None:
            ladder: Any = None
            ladder.step(ask)
            print(ask)  # noqa: T201 - a call of a plain name

    assert Other.__saga__.uses == ()


def test_what_has_no_source_must_be_declared() -> None:
    """Generated code cannot be read; its operations are what uses= lists."""
    namespace: dict[str, Any] = {"SagaWorkflow": SagaWorkflow, "flight": flight}
    exec(  # noqa: S102 - a class without a source is what is tested
        "class Made(SagaWorkflow, owner='me', uses=(flight,)):\n"
        "    async def run(self, ask):\n"
        "        await self.step(flight, ask)\n",
        namespace,
    )

    assert list(namespace["Made"].__saga__.operations) == ["flight.book"]


def test_a_subclass_inherits_what_it_does_not_say() -> None:
    """Owner, deadline, replay window and runbook come from the base unless they are given."""

    class Base(SagaWorkflow, owner="base", deadline=timedelta(hours=2), runbook="https://base.test"): ...

    class Child(Base, owner="child"): ...

    saga = Child.__saga__
    assert (saga.name, saga.owner, saga.deadline, saga.runbook) == (
        "Child",
        "child",
        timedelta(hours=2),
        "https://base.test",
    )


def line_of(code: str) -> int:
    """The line of this file that holds some code."""
    with open(__file__, encoding="utf-8") as source:  # noqa: PTH123 - one line is all it takes
        return next(number for number, line in enumerate(source, start=1) if line.strip() == code)


class Sale(Model):
    """Who sells, for whom."""

    shop: str
    merchant: str | None = None


def _selling(tenant: str) -> type[SagaWorkflow]:
    class Selling(SagaWorkflow, owner="team", tenant=tenant):
        async def run(self, sale: Sale) -> None:
            await self.step(flight, Ask(id=sale.shop))

    return Selling


@pytest.mark.parametrize(
    ("tenant", "request_", "whose"),
    [
        ("{merchant}", Sale(shop="s", merchant="acme"), "acme"),
        ("{merchant}", Sale(shop="s"), ""),
        ("{shop}/{merchant}", Sale(shop="s", merchant="acme"), "s/acme"),
        ("", Sale(shop="s", merchant="acme"), ""),
        ("{merchant}", {"shop": "s", "merchant": "acme"}, ""),
    ],
)
def test_a_tenant_is_read_from_the_request(tenant: str, request_: object, whose: str) -> None:
    """A field without a value, and a request that is no model, belong to nobody: a hold on a tenant passes them by."""
    assert _selling(tenant).__saga__.tenant_of(request_) == whose


@pytest.mark.parametrize("field", ["merchant_id", "merchant.id"])
def test_a_tenant_must_be_in_the_request(field: str) -> None:
    """A field that the request does not have would fail every run, or let every hold pass by."""
    assert message(lambda: _selling(f"{{{field}}}")) == (
        f"saga 'Selling': its tenant '{{{field}}}' uses '{field}', which its request does not have. "
        "Fix: use the fields of what run takes: merchant, shop."
    )
