"""Documents that fit a JSON schema: a plain one, a sparse one, and one for every way a single value can differ.

They are the same every time, so what one version wrote can be put before the other. What the schema bounds is tried at
its bounds: a narrower bound is then seen by the document that it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from kit.testing.gates.contracts.patterns import plainest

Schema = Mapping[str, Any]

_DEEPEST: Final = 2
"""How often a type may occur within itself in one document."""

_LONGEST: Final = 10_000
"""A length above this is a bound that nobody reaches, and is not tried."""

_MOST: Final = 1000
"""Documents of one schema; the plain and the sparse one come first."""

_BOUNDS: Final = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems"}
)

_DECIMAL: Final = [{"type": "number"}, {"type": "string"}]
"""What pydantic says of a decimal: of the texts, only numbers will do."""

_FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    # As pydantic writes them: what is read and written again is then the same text.
    "uuid": ("11111111-1111-4111-8111-111111111111",),
    "date": ("2026-01-31",),
    "date-time": ("2026-01-31T12:30:00Z",),
    "time": ("12:30:00",),
    "duration": ("PT1H",),
    "email": ("someone@example.com",),
    "uri": ("https://example.com/",),
    "ipv4": ("192.0.2.1",),
    "ipv6": ("2001:db8::1",),
}

AWKWARD: Final = "a:b%1 ü"
"""A text with what keys must escape."""


def documents(schema: Schema, *, edges: Iterable[int] = ()) -> list[Any]:
    """Documents that fit a schema, as JSON values; none where it allows nothing that can be built here.

    Args:
        schema: The schema.
        edges: Further lengths and numbers to try, such as the `bounds` of another schema: what only that one forbids is
            found at its bounds.
    """
    tried = tuple(near for edge in sorted(set(edges)) for near in (edge - 1, edge, edge + 1))
    return list(islice(_Builder(schema.get("$defs", {}), tried).values(schema, "value"), _MOST))


def bounds(schema: Any) -> set[int]:
    """The whole numbers by which a schema bounds lengths and numbers."""
    if isinstance(schema, list):
        return set().union(*map(bounds, schema))
    if not isinstance(schema, Mapping):
        return set()
    own = {int(value) for key, value in schema.items() if key in _BOUNDS and isinstance(value, int | float)}
    return own.union(*map(bounds, schema.values()))


class _Builder:
    def __init__(self, definitions: Mapping[str, Schema], edges: tuple[int, ...]) -> None:
        self._definitions = definitions
        self._edges = edges
        self._within: list[str] = []

    def values(self, schema: Schema, name: str) -> Iterator[Any]:
        """The values of a schema, the plainest first. ``name``: of the field, of which texts remind."""
        if "$ref" in schema:
            yield from self._referred(schema["$ref"].rpartition("/")[2], name)
        elif "const" in schema:
            yield schema["const"]
        elif "enum" in schema:
            yield from schema["enum"]
        elif schema.get("anyOf") == _DECIMAL:
            yield from (*numbers({"type": "number"}, edges=self._edges), "1.50")
        elif branches := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            # An absent value is the least plain one.
            tag = schema.get("discriminator", {}).get("propertyName")
            for branch in sorted(branches, key=lambda branch: branch.get("type") == "null"):
                yield from (value for value in self.values(branch, name) if tag is None or tag in value)
        else:
            yield from self._typed(schema, name)

    def _referred(self, reference: str, name: str) -> Iterator[Any]:
        if self._within.count(reference) >= _DEEPEST or reference not in self._definitions:
            return
        self._within.append(reference)
        try:
            # To the end: what is built lazily would be built when this reference is left again.
            found = list(self.values(self._definitions[reference], name))
        finally:
            self._within.pop()
        yield from found

    def _typed(self, schema: Schema, name: str) -> Iterator[Any]:
        match schema.get("type"):
            case "object":
                yield from self._objects(schema, name)
            case "array":
                yield from self._arrays(schema, name)
            case "string":
                yield from texts(schema, name, edges=self._edges)
            case "integer" | "number":
                yield from numbers(schema, edges=self._edges)
            case "boolean":
                yield from (True, False)
            case "null":
                yield None
            case _:
                yield from ("anything", 1, None)

    def _objects(self, schema: Schema, name: str) -> Iterator[Any]:
        properties: Schema = schema.get("properties", {})
        choices = {key: list(self.values(value, key)) for key, value in properties.items()}
        required = schema.get("required", ())
        if any(not choices[key] for key in required if key in choices):
            return
        full = {key: found[0] for key, found in choices.items() if found}
        if not properties and schema.get("additionalProperties"):
            inner = schema["additionalProperties"]
            for value in self.values({} if inner is True else inner, name):
                yield {"key": value}
        yield full
        sparse = {key: full[key] for key in full if key in required}
        if sparse != full:
            yield sparse
        for key, found in choices.items():
            for value in found[1:]:
                yield {**full, key: value}

    def _arrays(self, schema: Schema, name: str) -> Iterator[Any]:
        first = [next(self.values(item, name), None) for item in schema.get("prefixItems", ())]
        inner = schema.get("items", {})
        found = [] if inner is False else list(self.values(inner, name))
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if first:
            yield first
            return
        lengths = [max(least, 1), least, *_lengths(least, most, self._edges)]
        for length in dict.fromkeys(lengths):
            items = found[:length] if schema.get("uniqueItems") else found[:1] * length
            if len(items) == length:
                yield items
        for value in found[1:]:
            yield [value, *found[:1] * (least - 1)]


def texts(schema: Schema, name: str, *, edges: Iterable[int] = ()) -> Iterator[str]:
    """Texts that fit: one that reminds of the field, one with awkward characters, the shortest, the longest."""
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    pattern, form = schema.get("pattern"), schema.get("format", "")
    plain = f"{name.replace('_', '-')}-1"
    candidates = [plain, AWKWARD, "a" * least, plain[:most], plain.ljust(least, "a")]
    candidates += ["a" * length for length in _lengths(least, most, edges)]
    if form in _FORMATS:
        candidates = list(_FORMATS[form])
    if pattern is not None:
        candidates.append(plainest(pattern) or plain)
    for text in dict.fromkeys([*schema.get("examples", ()), *candidates]):
        long_enough = least <= len(text) and (most is None or len(text) <= most)
        if long_enough and (pattern is None or re.search(pattern, text)):
            yield text


def numbers(schema: Schema, *, edges: Iterable[int] = ()) -> Iterator[int | float]:
    """Numbers that fit: one, and those at the bounds."""
    whole = schema.get("type") == "integer"
    step = schema.get("multipleOf", 1 if whole else 0.5)
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    limits = [low, above if above is None else above + step, high, below if below is None else below - step]
    candidates = [1, *(bound for bound in limits if bound is not None), 0, -1, step, *(() if whole else (1.5,)), *edges]
    for number in dict.fromkeys([*schema.get("examples", ()), *candidates]):
        fits = (
            (low is None or number >= low)
            and (high is None or number <= high)
            and (above is None or number > above)
            and (below is None or number < below)
            and ("multipleOf" not in schema or number % step == 0)
            and (not whole or number == int(number))
        )
        if fits:
            yield int(number) if whole else float(number)


def _lengths(least: int, most: int | None, edges: Iterable[int]) -> Iterator[int]:
    """The longest that may be, and what of the edges lies between."""
    if most is not None and most <= _LONGEST:
        yield most
    for edge in edges:
        if least <= edge <= (_LONGEST if most is None else min(most, _LONGEST)):
            yield edge
