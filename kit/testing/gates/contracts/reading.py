"""Whether a type reads documents, and whether it understands them as they were meant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from kit.errors import DefinitionError
from kit.testing.gates.contracts.documents import Schema, documents
from kit.testing.gates.contracts.lock import LockedType

_TELLS_NOTHING: Final = ("title", "description")
"""Keywords that people read."""

_MAPS: Final = ("properties", "$defs", "patternProperties")
"""Keywords whose own keys are names, not keywords."""


def adapter_of(type_: Any) -> TypeAdapter[Any]:
    """What reads and writes a type."""
    return TypeAdapter(NoneType if type_ is None else type_)


def locked_type(subject: str, type_: Any) -> LockedType:
    """What the lock holds of a type.

    Raises:
        DefinitionError: pydantic cannot say what its documents look like.
    """
    try:
        adapter = adapter_of(type_)
        schema = plain(adapter.json_schema())
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError) as error:
        raise DefinitionError(
            subject,
            rule=f"pydantic cannot describe its type {getattr(type_, '__name__', type_)!r}: {error.message}",
            fix="use types that have a JSON schema, or give the type one (`__get_pydantic_json_schema__`)",
        ) from error
    refuses = (digest(document) for document in documents(schema) if trouble(adapter, document) is not None)
    return LockedType(shape=schema, refuses=tuple(sorted(refuses)))


def plain(schema: Any, *, names: bool = False) -> Any:
    """A JSON schema without what only people read. ``names``: its own keys are names."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: plain(value, names=not names and key in _MAPS)
        for key, value in schema.items()
        if names or key not in _TELLS_NOTHING
    }


def judged(locked: LockedType, *, edges: Iterable[int] = ()) -> list[Any]:
    """The documents of a locked type that its own version read as they are. ``edges``: as for `documents`."""
    if locked.refuses:
        # Code has its say in the type: of documents that it was not asked about nothing is known.
        edges = ()
    return [document for document in documents(locked.shape, edges=edges) if digest(document) not in locked.refuses]


def written(adapter: TypeAdapter[Any], found: Iterable[Any]) -> list[Any]:
    """The documents, as the type writes them."""
    return [document for one in found if (document := _reread(adapter, one)) is not _UNREADABLE]


def digest(value: Any) -> str:
    """A short name of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def trouble(adapter: TypeAdapter[Any], document: Any) -> str | None:
    """What is wrong when a type reads a document, in words; ``None`` when it reads it as it was meant."""
    refusal = refused(adapter, document)
    return refusal or next(iter(misread(adapter, document)), None)


def refused(adapter: TypeAdapter[Any], document: Any) -> str | None:
    """Why a type does not read a document; ``None`` when it does."""
    try:
        adapter.validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        return f"{_path(first['loc'])}: {first['msg']}"
    return None


def misread(adapter: TypeAdapter[Any], document: Any) -> list[str]:
    """What a type drops or changes of a document that it reads. What it adds, by a default, is not counted."""
    again = _reread(adapter, document)
    return [] if again is _UNREADABLE else list(_lost(document, again, ()))


_UNREADABLE: Final = object()


def _reread(adapter: TypeAdapter[Any], document: Any) -> Any:
    try:
        value = adapter.validate_json(json.dumps(document))
    except ValidationError:
        return _UNREADABLE
    return json.loads(adapter.dump_json(value, by_alias=True, warnings=False))


def _lost(was: Any, now: Any, path: tuple[str | int, ...]) -> Iterator[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key, value in was.items():
            if key in now:
                yield from _lost(value, now[key], (*path, key))
            else:
                yield f"{_path((*path, key))}: dropped without a word"
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, (old, new) in enumerate(zip(was, now, strict=True)):
            yield from _lost(old, new, (*path, place))
    elif not _same(was, now):
        yield f"{_path(path)}: {was!r} is read as {now!r}"


def _same(was: Any, now: Any) -> bool:
    """Equal, or the same number written in another way: a decimal is written as text and read from a number."""
    if isinstance(was, bool) or isinstance(now, bool) or was is None or now is None:
        return was is now
    if was == now or str(was) == str(now):
        return True
    try:
        return float(was) == float(now)
    except (TypeError, ValueError):
        return False


def _path(parts: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in parts) or "the whole"


def defaults(schema: Schema) -> dict[str, Any]:
    """The defaults that a schema states, by the path of their field."""
    found: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, Mapping):
            if "default" in node:
                found[path] = node["default"]
            for key, value in node.items():
                if key != "default":
                    walk(value, f"{path}.{key}" if key not in _MAPS else path)
        elif isinstance(node, list):
            for place, value in enumerate(node):
                walk(value, f"{path}.{place}")

    walk(schema, "")
    return {path.lstrip("."): value for path, value in found.items()}
