"""Keys and fingerprints: the same for the same effect, different for different ones, for ever."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Literal, NewType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.contract import Model, fingerprint, format_key
from kit.contract.keys import MAX_KEY_LENGTH, UNSTABLE, check_template
from kit.errors import DefinitionError

OrderId = NewType("OrderId", str)


class Colour(StrEnum):
    """A closed vocabulary."""

    RED = "red"


class Level(IntEnum):
    """A closed vocabulary of numbers."""

    HIGH = 3


class Plain(Enum):
    """A closed vocabulary without a base."""

    ON = "on"


class Buyer(Model):
    """Somebody."""

    id: str


class Request(Model):
    """A field of every type there is a rule for."""

    order_id: OrderId
    number: int = 0
    uuid_field: UUID = UUID(int=1)
    colour: Colour = Colour.RED
    level: Level = Level.HIGH
    plain: Plain = Plain.ON
    day: date = date(2026, 1, 2)
    mode: Literal["a", "b"] = "a"
    buyer: Buyer = Buyer(id="ann")
    at: datetime = datetime(2026, 1, 2)  # noqa: DTZ001 - only its type is looked at
    price: float = 1.5
    flag: bool = True
    note: str | None = None
    tags: tuple[str, ...] = ()
    half: Literal["a", None] = "a"
    # Names that say the value changes, although the request has them.
    run_id: str = "r"
    attempt: int = 1


def _refusal(template: str) -> str:
    with pytest.raises(DefinitionError) as raised:
        check_template("operation 'x.y'", template, Request)
    return str(raised.value)


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("a:{order_id}", "a:O1"),
        ("a:{number}", "a:0"),
        ("a:{uuid_field}", "a:00000000-0000-0000-0000-000000000001"),
        ("a:{colour}", "a:red"),
        ("a:{level}", "a:3"),
        ("a:{plain}", "a:on"),
        ("a:{day}", "a:2026-01-02"),
        ("a:{mode}", "a:a"),
        ("a:{buyer.id}", "a:ann"),
        ("a:{workflow_id}", "a:WF"),
        ("{order_id}:{number}", "O1:0"),
        ("{{{order_id}}}", "{O1}"),
    ],
)
def test_a_key_is_the_template_filled_with_the_request(template: str, key: str) -> None:
    """Every stable type may be part of a key, and is written by its value."""
    check_template("operation 'x.y'", template, Request)

    assert format_key(template, Request(order_id=OrderId("O1")), workflow_id="WF") == key


def test_a_template_without_placeholder_is_refused() -> None:
    """One key for every request would let only one of them happen."""
    assert _refusal("authorize") == (
        "operation 'x.y': key template 'authorize' has no placeholder, so every request would share one key. "
        "Fix: name the business identity, e.g. 'authorize:{order_id}'."
    )


def test_a_malformed_template_is_refused() -> None:
    """A brace that is not closed is found when the operation is built."""
    assert _refusal("a:{order_id") == (
        "operation 'x.y': key template 'a:{order_id' is malformed (expected '}' before end of string). "
        "Fix: write e.g. 'authorize:{order_id}'."
    )


@pytest.mark.parametrize("name", sorted(UNSTABLE))
def test_a_key_of_what_changes_between_attempts_is_refused(name: str) -> None:
    """Run ids, attempts, times and random values give one effect many keys, whether or not the request has them."""
    assert _refusal(f"a:{{{name}}}") == (
        f"operation 'x.y': key template 'a:{{{name}}}' uses '{name}', which changes between attempts or runs. "
        "Fix: build the key from business identity only, e.g. '{order_id}' or '{workflow_id}'."
    )


def test_an_unstable_name_is_found_anywhere_in_a_path() -> None:
    """A changing value is refused inside another model, too."""
    assert "uses 'buyer.run_id', which changes between attempts or runs" in _refusal("a:{buyer.run_id}")


@pytest.mark.parametrize("name", ["nope", "buyer.nope", "order_id.nope", "", "0", "buyer[id]"])
def test_a_field_the_request_does_not_have_is_refused(name: str) -> None:
    """The message names the fields there are."""
    fields = ", ".join(sorted(Request.model_fields))
    assert _refusal(f"a:{{{name}}}") == (
        f"operation 'x.y': key template 'a:{{{name}}}' uses '{name}', which Request does not have. "
        f"Fix: use its fields ({fields}) or {{workflow_id}}."
    )


def test_a_request_without_fields_is_named_so() -> None:
    """The message does not end in an empty list."""

    class Empty(Model):
        """Nothing."""

    with pytest.raises(DefinitionError) as raised:
        check_template("operation 'x.y'", "a:{order_id}", Empty)

    assert raised.value.fix == "use its fields (none) or {workflow_id}"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("at", "datetime"),
        ("price", "float"),
        ("flag", "bool"),
        ("note", "str | None"),
        ("tags", "tuple"),
        ("half", "Literal"),
        ("buyer", "Buyer"),
    ],
)
def test_a_field_that_is_no_stable_identity_is_refused(name: str, shown: str) -> None:
    """A key is built from what names a thing, never from a measure, a time, a flag or something optional."""
    assert _refusal(f"a:{{{name}}}") == (
        f"operation 'x.y': key template 'a:{{{name}}}' uses '{name}' of type {shown}, which is no stable identity. "
        "Fix: use a required str, int, UUID, Enum or date field."
    )


def test_an_empty_part_is_refused() -> None:
    """Two requests without an id would share one key."""
    with pytest.raises(ValueError, match=r"the key 'a:\{order_id\}' needs 'order_id', which is empty: ''"):
        format_key("a:{order_id}", Request(order_id=OrderId("")), workflow_id="WF")


def test_a_key_may_have_255_characters_and_no_more() -> None:
    """A provider that cuts keys off would take two effects for one."""
    longest = format_key("{order_id}", Request(order_id=OrderId("x" * 255)), workflow_id="WF")

    assert len(longest) == MAX_KEY_LENGTH == 255
    with pytest.raises(ValueError, match="is 256 characters long; at most 255 are allowed"):
        format_key("{order_id}", Request(order_id=OrderId("x" * 256)), workflow_id="WF")


ids = st.text(min_size=1, max_size=40)


@given(ids, ids)
def test_two_orders_never_share_a_key(first: str, second: str) -> None:
    """Over one field, keys are equal exactly when the field is."""
    keys = [format_key("a:{order_id}", Request(order_id=OrderId(i)), workflow_id="WF") for i in (first, second)]

    assert (keys[0] == keys[1]) == (first == second)


@given(st.tuples(ids, ids), st.tuples(ids, ids))
def test_two_requests_never_meet_in_one_key(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Over two fields too: a colon in a value is no separator."""
    requests = [Request(order_id=OrderId(a), run_id=b) for a, b in (first, second)]
    keys = [format_key("a:{order_id}:{run_id}", request, workflow_id="WF") for request in requests]

    assert (keys[0] == keys[1]) == (first == second)


def test_a_colon_in_a_value_is_written_as_in_a_url() -> None:
    """What stands in the key can be read back."""
    request = Request(order_id=OrderId("A:1%"))

    assert format_key("a:{order_id}", request, workflow_id="WF") == "a:A%3A1%25"


@given(ids, st.integers(), ids, ids)
def test_a_key_depends_on_its_fields_alone(order_id: str, number: int, run_id: str, workflow_id: str) -> None:
    """What the template does not name changes nothing: not another field, not the run."""
    plain = format_key("a:{order_id}", Request(order_id=OrderId(order_id)), workflow_id="WF")
    other = Request(order_id=OrderId(order_id), number=number, run_id=run_id)

    assert format_key("a:{order_id}", other, workflow_id=workflow_id) == plain


# -- fingerprints --------------------------------------------------------------------------------------------------


class Old(Model):
    """A released request."""

    order_id: str
    amount: int = 1


class New(Model):
    """The same with a field added."""

    amount: int = 1
    currency: str = "usd"
    order_id: str


@given(ids, st.integers())
def test_a_field_added_with_a_default_keeps_the_fingerprint(order_id: str, amount: int) -> None:
    """Retries in flight are not refused after an upgrade, whatever the order of the fields."""
    old, new = Old(order_id=order_id, amount=amount), New(order_id=order_id, amount=amount)

    assert fingerprint("x.y", old) == fingerprint("x.y", new)


@given(ids, st.integers(), ids, st.integers())
def test_fingerprints_differ_when_requests_do(a: str, m: int, b: str, n: int) -> None:
    """Another content under the same key is recognised."""
    first, second = Old(order_id=a, amount=m), Old(order_id=b, amount=n)

    assert (fingerprint("x.y", first) == fingerprint("x.y", second)) == (first == second)


def test_fingerprints_differ_between_operations() -> None:
    """The same content for another operation is another effect."""
    assert fingerprint("x.y", Old(order_id="1")) != fingerprint("x.z", Old(order_id="1"))


def test_a_fingerprint_never_changes() -> None:
    """A released fingerprint is in ledgers everywhere: this value is for ever."""
    assert fingerprint("payments.authorize", Old(order_id="ORDER-1", amount=4999)) == "99b07d662b660110aa8bab2e92d341ff"
