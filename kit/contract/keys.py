"""Idempotency keys and fingerprints: stable across retries, resets, replays and versions."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Iterator
from datetime import date, datetime
from enum import Enum
from functools import cache
from string import Formatter
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel

from kit.errors import DefinitionError

MAX_KEY_LENGTH: Final = 255
"""Stripe's limit for an idempotency key, the tightest in wide use."""

WORKFLOW_ID: Final = "workflow_id"
"""The one placeholder that does not come from the request: the business id of the run, stable across resets."""

UNSTABLE: Final = frozenset(
    {"run_id", "attempt", "activity_id", "now", "timestamp", "time", "uuid", "uuid4", "random", "nonce"}
)
"""Names that say the value changes from one attempt, run or reset to the next."""

_STABLE_TYPES = (str, int, UUID, Enum)


def placeholders(template: str) -> Iterator[str]:
    """The names between braces, in order."""
    for _, name, _, _ in Formatter().parse(template):
        if name is not None:
            yield name


def check_template(subject: str, template: str, request: type[BaseModel]) -> None:
    """Refuse a key template that could give one effect two keys, or two effects one key.

    Raises:
        DefinitionError: It has no placeholder, names a field the request does not have, or is built from a value
            that changes between attempts (run id, attempt, activity id, a time, a random value).
    """
    try:
        names = list(placeholders(template))
    except ValueError as error:
        raise DefinitionError(
            subject, rule=f"key template {template!r} is malformed ({error})", fix="write e.g. 'authorize:{order_id}'"
        ) from error
    if not names:
        raise DefinitionError(
            subject,
            rule=f"key template {template!r} has no placeholder, so every request would share one key",
            fix="name the business identity, e.g. 'authorize:{order_id}'",
        )
    for name in names:
        if UNSTABLE.intersection(name.split(".")):
            raise DefinitionError(
                subject,
                rule=f"key template {template!r} uses {name!r}, which changes between attempts or runs",
                fix="build the key from business identity only, e.g. '{order_id}' or '{workflow_id}'",
            )
        if name != WORKFLOW_ID:
            _check_field(subject, template, name, request)


def _check_field(subject: str, template: str, name: str, request: type[BaseModel]) -> None:
    annotation: Any = request
    for part in name.split("."):
        fields = annotation.model_fields if _is_model(annotation) else {}
        if part not in fields:
            known = ", ".join(sorted(request.model_fields)) or "none"
            raise DefinitionError(
                subject,
                rule=f"key template {template!r} uses {name!r}, which {request.__name__} does not have",
                fix=f"use its fields ({known}) or {{workflow_id}}",
            )
        annotation = fields[part].annotation
    if not _is_stable(annotation):
        shown = getattr(annotation, "__name__", str(annotation))
        raise DefinitionError(
            subject,
            rule=f"key template {template!r} uses {name!r} of type {shown}, which is no stable identity",
            fix="use a required str, int, UUID, Enum or date field",
        )


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_stable(annotation: Any) -> bool:
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return all(isinstance(value, str | int) for value in typing.get_args(annotation))
    if origin in (typing.Union, types.UnionType) or not isinstance(annotation, type):
        return False
    if issubclass(annotation, datetime):
        return False
    return issubclass(annotation, (*_STABLE_TYPES, date)) and not issubclass(annotation, bool)


@cache
def _parts(template: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((literal, name) for literal, name, _, _ in Formatter().parse(template))


def quoted(value: str) -> str:
    """A value as it stands in a key: escaped, so that ("A:B", "C") and ("A", "B:C") do not meet in one key."""
    return value.replace("%", "%25").replace(":", "%3A")


def unquoted(value: str) -> str:
    """A value of a key, as it was before `quoted`."""
    return value.replace("%3A", ":").replace("%25", "%")


def format_key(template: str, request: BaseModel, *, workflow_id: str) -> str:
    """Fill a template. A colon or percent sign in a value is written as in a URL: two requests never meet in one key.

    Raises:
        ValueError: A value is empty, or the key is longer than `MAX_KEY_LENGTH`.
    """
    parts: list[str] = []
    for literal, name in _parts(template):
        parts.append(literal)
        if name is None:
            continue
        value: Any = workflow_id if name == WORKFLOW_ID else request
        if name != WORKFLOW_ID:
            for part in name.split("."):
                value = getattr(value, part)
        text = str(value.value if isinstance(value, Enum) else value)
        if not text:
            raise ValueError(f"the key {template!r} needs {name!r}, which is empty: {value!r}")
        parts.append(quoted(text))
    key = "".join(parts)
    if len(key) > MAX_KEY_LENGTH:
        raise ValueError(f"the key {key!r} is {len(key)} characters long; at most {MAX_KEY_LENGTH} are allowed")
    return key


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(operation: str, request: BaseModel) -> str:
    """What the key stands for: the operation and the request's content.

    Fields that have their default value do not count, so that a field added with a default does not turn the
    retries in flight into ``key_reused``; a changed default is a change of contract.
    """
    content = _CANONICAL.encode(request.model_dump(mode="json", exclude_defaults=True))
    return hashlib.sha256(f"{operation}\n{content}".encode()).hexdigest()[:32]
