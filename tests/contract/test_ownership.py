"""Field ownership: one source of truth for each field, and everybody else's word is drift."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.contract import Drift, Known, Ownership, differences
from kit.errors import DefinitionError

ACCOUNT = Ownership("account", {"name": "crm", "plan": "billing", "status": "billing"})
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def merge(known: dict[str, Known], writer: str, version: int | None = None, **offered: Any) -> dict[str, Known]:
    """What is known after an offer."""
    return ACCOUNT.merge(known, offered, writer=writer, version=version, at=NOW).fields


def test_owner_is_believed_and_a_stranger_is_not() -> None:
    """A writer sets what it owns; what it does not own is kept as it is, and recorded."""
    known = {"plan": Known(value="pro", version=3)}

    merged = ACCOUNT.merge(known, {"name": "Acme", "plan": "none"}, writer="crm", version=1, at=NOW)

    assert merged.fields == {"plan": Known(value="pro", version=3), "name": Known(value="Acme", version=1)}
    assert merged.changed == ("name",)
    assert merged.drift == (Drift(field="plan", owner="billing", writer="crm", kept="pro", offered="none", at=NOW),)


def test_the_same_value_is_neither_a_change_nor_drift() -> None:
    """Who repeats what is known has said nothing, whoever it is; the owner's version is remembered."""
    known = {"plan": Known(value="pro", version=3)}

    stranger = ACCOUNT.merge(known, {"plan": "pro"}, writer="crm", version=9, at=NOW)
    owner = ACCOUNT.merge(known, {"plan": "pro"}, writer="billing", version=4, at=NOW)

    assert (stranger.fields, stranger.changed, stranger.drift) == (known, (), ())
    assert (owner.fields["plan"].version, owner.changed, owner.drift) == (4, (), ())


def test_older_word_of_the_owner_is_dropped_field_by_field() -> None:
    """The owner's last version wins: what it said before counts for the fields it has not spoken of since."""
    known = merge({}, "billing", 5, plan="pro")

    merged = ACCOUNT.merge(known, {"plan": "none", "status": "active"}, writer="billing", version=4, at=NOW)

    assert merged.outdated == ("plan",)
    assert merged.drift == ()
    assert merged.fields == {"plan": Known(value="pro", version=5), "status": Known(value="active", version=4)}


def test_field_that_nobody_owns_is_drift() -> None:
    """What is not declared is nobody's to write."""
    merged = ACCOUNT.merge({}, {"shoe_size": 38}, writer="billing", version=1, at=NOW)

    assert merged.fields == {}
    assert [(drift.field, drift.owner, drift.kept) for drift in merged.drift] == [("shoe_size", "", None)]


def test_only_what_differs_is_to_be_written() -> None:
    """Compare before write: a field that is missing or another there is written, one that agrees is not."""
    wanted = {name: Known(value=name) for name in ("name", "plan", "status")}

    assert differences(wanted, {"name": "name", "plan": "other"}) == {"plan": "plan", "status": "status"}
    assert differences(wanted, {}, among=("plan", "unknown")) == {"plan": "plan"}
    assert differences(wanted, {"name": "name", "plan": "plan", "status": "status"}) == {}


@pytest.mark.parametrize("owners", [{}, {"plan": ""}, {" ": "crm"}])
def test_field_without_an_owner_is_refused(owners: dict[str, str]) -> None:
    """Ownership that leaves a field open is none."""
    with pytest.raises(DefinitionError, match="ownership of 'account'"):
        Ownership("account", owners)


@given(
    st.lists(
        st.tuples(st.sampled_from(["crm", "billing"]), st.integers(1, 9), st.sampled_from(["a", "b"])), max_size=12
    )
)
def test_order_of_arrival_does_not_matter(said: list[tuple[str, int, str]]) -> None:
    """With versions the end is the owner's highest one, in whatever order everybody was heard."""
    known: dict[str, Known] = {}
    for writer, version, value in said:
        known = merge(known, writer, version, plan=f"{value}{version}")

    highest = max((version for writer, version, _ in said if writer == "billing"), default=None)
    assert (known["plan"].version if known else None) == highest
