"""Compare the documents of a type: does the new code read what the old wrote, and the old what the new writes?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from kit.testing.gates.contracts.changes import Change, Finding
from kit.testing.gates.contracts.documents import Schema, bounds, documents
from kit.testing.gates.contracts.lock import LockedType
from kit.testing.gates.contracts.reading import defaults, judged, misread, refused, written
from kit.testing.gates.contracts.rebuilt import rebuilt


def compare_types(
    subject: str,
    was: LockedType,
    now: LockedType,
    types: Mapping[str, TypeAdapter[Any]],
    *,
    defaults_matter: bool,
) -> Iterator[Finding]:
    """What has changed for the documents of one type: the gravest change only, with all that shows it.

    Args:
        subject: What findings call the type.
        was: As it was locked.
        now: As it is.
        types: What reads each type now, by subject.
        defaults_matter: Whether a field may be missing in what was written: not in results, which are written whole.
    """
    reader = types[subject]
    old = judged(was, edges=bounds(now.shape))
    shapes = (_fields(was), _fields(now))
    if broken := _all(refused(reader, document) for document in old):
        yield Finding(Change.TYPE_NARROWED, subject, *shapes, detail=broken + _renamed(was, now))
        return
    if broken := _all(text for document in old for text in misread(reader, document)):
        yield Finding(Change.TYPE_MISREAD, subject, *shapes, detail=broken)
        return
    if was.shape == now.shape:
        return
    changed = _changed_defaults(was, now) if defaults_matter else ""
    if changed:
        yield Finding(Change.DEFAULT_CHANGED, subject, *shapes, detail=changed)
    reader_then = rebuilt(was.shape)
    new = written(reader, documents(now.shape, edges=bounds(was.shape)))
    lost = _all(refused(reader_then, document) for document in new)
    lost = lost or _all(text for document in new for text in misread(reader_then, document))
    if lost:
        yield Finding(Change.TYPE_WIDENED, subject, *shapes, detail=f"by the old code: {lost}")
    elif not changed:
        yield Finding(Change.TYPE_CHANGED, subject, *shapes)


def _changed_defaults(was: LockedType, now: LockedType) -> str:
    old, new = defaults(was.shape), defaults(now.shape)
    return _all(
        f"{path.rpartition('.')[2]}: {old[path]!r} became {new[path]!r}"
        for path in old.keys() & new.keys()
        if old[path] != new[path]
    )


def _all(texts: Iterator[str | None]) -> str:
    """What there is to say, each once."""
    return "; ".join(sorted({text for text in texts if text}))


def _renamed(was: LockedType, now: LockedType) -> str:
    """What to say when one field went and another of the same type came."""
    old, new = _shape(was).get("properties", {}), _shape(now).get("properties", {})
    gone, come = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
    if len(gone) == len(come) == 1 and old[gone[0]] == new[come[0]]:
        return f"; it looks as if {gone[0]!r} had been renamed {come[0]!r}"
    return ""


def _shape(locked: LockedType) -> Schema:
    """The schema of the type itself, which may stand among the definitions."""
    reference = locked.shape.get("$ref", "")
    shape: Schema = locked.shape["$defs"][reference.rpartition("/")[2]] if reference else locked.shape
    return shape


def _fields(locked: LockedType) -> str:
    """A type in words: its fields, and which may be left out."""
    shape = _shape(locked)
    if "properties" not in shape:
        return str(shape.get("type", "anything"))
    required = shape.get("required", ())
    return ", ".join(name if name in required else f"{name}?" for name in sorted(shape["properties"])) or "no fields"
