"""Documents made from a schema fit it, tell types apart, and are read by the type that the schema came from."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from kit.contract import Model
from kit.testing.gates.contracts.documents import AWKWARD, bounds, documents
from kit.testing.gates.contracts.patterns import plainest
from kit.testing.gates.contracts.reading import locked_type, misread, refused
from kit.testing.gates.contracts.rebuilt import rebuilt


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Card(Model):
    kind: Literal["card"] = "card"
    number: str


class Transfer(Model):
    kind: Literal["transfer"] = "transfer"
    account: str


class Node(Model):
    name: str
    below: tuple[Node, ...] = ()
    beside: Node | None = None


class Everything(BaseModel):
    """One field of every sort."""

    text: Annotated[str, Field(min_length=2, max_length=5)]
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}\d+$")]
    whole: Annotated[int, Field(gt=3, lt=9)]
    stepped: Annotated[int, Field(multiple_of=5)]
    share: Annotated[float, Field(ge=0, le=1)]
    money: Decimal
    flag: bool
    nothing: None
    choice: Literal["a", 7]
    level: Level
    maybe: str | None = None
    day: date
    at: datetime
    clock: time
    took: timedelta
    uid: UUID
    some: Annotated[list[int], Field(min_length=2, max_length=3)]
    pair: tuple[str, int]
    distinct: set[int]
    counts: dict[str, int]
    paid: Annotated[Card | Transfer, Field(discriminator="kind")]
    tree: Node
    free: dict[str, Any]
    anything: Any = None


TYPES = [Everything, Node, Card, list[Card], Card | int, dict[str, list[int]], str, None]


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_a_type_reads_the_documents_of_its_own_schema(type_: Any) -> None:
    """Nothing that is made from a schema is refused or changed by the schema's type."""
    adapter = TypeAdapter(type_)
    found = documents(adapter.json_schema())

    assert found
    assert [refused(adapter, document) for document in found] == [None] * len(found)
    assert [text for document in found for text in misread(adapter, document)] == []


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_a_rebuilt_type_reads_what_its_model_writes(type_: Any) -> None:
    """A type rebuilt from a schema reads the same documents, as the same values."""
    locked = locked_type("the test's type", type_)
    again = rebuilt(json.loads(json.dumps(locked.shape)))

    found = documents(locked.shape)

    assert [refused(again, document) for document in found] == [None] * len(found)
    assert [text for document in found for text in misread(again, document)] == []


WRONG = [
    {"text": "x"},
    {"text": "abcdef"},
    {"code": "A1"},
    {"whole": 3},
    {"whole": 9},
    {"stepped": 7},
    {"share": 1.5},
    {"flag": "maybe"},
    {"nothing": 0},
    {"choice": "b"},
    {"level": 3},
    {"day": "yesterday"},
    {"at": "now"},
    {"uid": "x"},
    {"some": [1]},
    {"some": [1, 2, 3, 4]},
    {"pair": ["a"]},
    {"counts": {"a": "b"}},
    {"paid": {"kind": "cash"}},
    {"tree": {"name": "a", "below": [{}]}},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_rebuilt_type_refuses_what_its_model_refuses(change: dict[str, Any]) -> None:
    """Bounds, patterns, choices and nested types are kept."""
    adapter = TypeAdapter(Everything)
    document = {**documents(adapter.json_schema())[0], **change}

    assert refused(adapter, document) is not None
    assert refused(rebuilt(adapter.json_schema()), document) is not None


def test_documents_are_the_same_every_time() -> None:
    """Two runs make the same documents in the same order, the plain and the sparse one first."""
    schema = TypeAdapter(Everything).json_schema()

    first, second = documents(schema), documents(schema)

    assert first == second
    assert "maybe" in first[0]
    assert set(first[1]) == set(schema["required"])


def test_texts_remind_of_their_field_and_meet_what_keys_escape() -> None:
    """A sample key can be read, and one has the characters that a key must escape."""
    found = documents(TypeAdapter(Card).json_schema())

    assert found[0]["number"] == "number-1"
    assert AWKWARD in [document["number"] for document in found]


def test_the_bounds_of_another_schema_are_tried() -> None:
    """What only the other schema forbids is found at its bounds."""
    free = TypeAdapter(int).json_schema()
    bounded = TypeAdapter(Annotated[int, Field(le=41)]).json_schema()

    assert bounds(bounded) == {41}
    assert {40, 41, 42} <= set(documents(free, edges=bounds(bounded)))


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[^@\s<>,;]+@[^@\s<>,;]+$",
        r"^[a-z]{3}$",
        r"^\d{4}-\d\d$",
        r"(foo|bar)+x?",
        r"^[A-Z]\w*\.?(?:b|c)$",
        r"^(?P<year>2\d{3})$",
        r"a.b",
        "",
    ],
)
def test_a_pattern_has_a_text(pattern: str) -> None:
    """Ordinary patterns are matched by the text that is built for them."""
    text = plainest(pattern)

    assert text is not None
    assert re.search(pattern, text)


@pytest.mark.parametrize("pattern", [r"(a)\1", r"^(?=.*\d)[a-z]+$", "(", r"[^\x00-\uffff]"])
def test_a_pattern_beyond_us_has_none(pattern: str) -> None:
    """Where nothing that matches can be built, nothing is claimed."""
    assert plainest(pattern) is None
