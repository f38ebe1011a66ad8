"""The file of a service's contracts: what is promised to runs in flight, written down and committed.

JSON, sorted and indented, so that a change of contract is a diff that a person can read. Durations are ISO 8601.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kit.contract import Effect, OnceStrategy
from kit.errors import DefinitionError

FILE: Final = "contracts.lock"
"""Its name, in the folder of the service."""

FORMAT: Final = 1
"""Raised when an older kit could not understand the file any more."""


class Entry(BaseModel):
    """The base of what the file holds: plain data, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)


class LockedType(Entry):
    """The documents of one type.

    Attributes:
        shape: Its JSON schema, without titles and descriptions.
        refuses: Digests of the documents made from the schema that the type itself refuses or changes: by validators in
            code, which a schema does not show. They say nothing about another version.
    """

    shape: dict[str, Any] = Field(alias="schema")
    refuses: tuple[str, ...] = ()


class Sample(Entry):
    """One request, and what keeps it to one effect.

    Attributes:
        request: As the payload of an activity has it.
        key: Its idempotency key; empty for a ``READ``.
        fingerprint: What the key stands for.
    """

    request: Any
    key: str
    fingerprint: str


class LockedOnce(Entry):
    """A once-strategy."""

    strategy: OnceStrategy
    ttl: timedelta | None = None


class LockedOperation(Entry):
    """The contract of one operation.

    Attributes:
        compensation: Whether a connector undoes it; ``None`` when no connector of the service serves it.
        probe: Whether a connector can look it up; ``None`` likewise.
        samples: Requests with their keys.
    """

    version: int
    dependency: str
    effect: Effect
    once: LockedOnce | None = None
    key: str | None = None
    timeout: timedelta
    local: bool = False
    compensation: bool | None = None
    probe: bool | None = None
    request: LockedType
    result: LockedType
    samples: tuple[Sample, ...] = ()


class LockedDependency(Entry):
    """How the failures of an external system are read.

    Attributes:
        settle: How late it may still take effect.
        classes: Exception class to ``"<outcome> <kind>"``.
        statuses: Status code, or ``"4xx"`` for those that are not named, to the same.
        retry: Failure kind to ``"<attempts> attempts, <base>s to <cap>s"``.
    """

    settle: timedelta
    classes: dict[str, str]
    statuses: dict[str, str]
    retry: dict[str, str]


class LockedWorkflow(Entry):
    """What starts a workflow, what it returns, and how long its keys must live.

    Attributes:
        arguments: The types of its run method's arguments.
        result: What it returns.
        deadline: Of a saga; ``None`` for any other workflow.
        replay_window: Likewise.
        uses: The names of the operations of a saga.
    """

    arguments: tuple[LockedType, ...]
    result: LockedType
    deadline: timedelta | None = None
    replay_window: timedelta | None = None
    uses: tuple[str, ...] = ()


class Accepted(Entry):
    """A breaking change that somebody has taken upon themselves.

    Attributes:
        change: Which kind of change.
        subject: Of what.
        digest: Of the old and the new value: the same change made another time is another one.
        why: In their words.
    """

    change: str
    subject: str
    digest: str
    why: str


class Lock(Entry):
    """All contracts of a service."""

    format: int = FORMAT
    dependencies: dict[str, LockedDependency] = Field(default_factory=dict)
    operations: dict[str, LockedOperation] = Field(default_factory=dict)
    workflows: dict[str, LockedWorkflow] = Field(default_factory=dict)
    accepted: tuple[Accepted, ...] = ()

    def text(self) -> str:
        """The file's content: the same for the same contracts."""
        content = {"format": self.format, **self.model_dump(mode="json", exclude_defaults=True)}
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, text: str, *, where: str) -> Lock:
        """Read what `text` writes.

        Args:
            text: The content.
            where: What messages call the file.

        Raises:
            DefinitionError: It is no lock, or one of a newer kit.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise _unreadable(where, f"it is no JSON: {error}") from error
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise DefinitionError(
                where,
                rule=f"its format is {found!r}, and this kit knows formats up to {FORMAT}",
                fix="run the version of the kit that wrote it, or a newer one",
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise _unreadable(where, f"it is no lock: {place}: {first['msg']}") from error

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Read the file.

        Raises:
            DefinitionError: There is none, or it cannot be read.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise DefinitionError(
                str(path),
                rule="there is no such file, so nothing says what runs in flight were promised",
                fix="write it with `kit contracts lock` and commit it",
            ) from error
        return cls.parse(text, where=str(path))


def _unreadable(where: str, rule: str) -> DefinitionError:
    return DefinitionError(
        where, rule=rule, fix="take the committed file again, or write a new one with `kit contracts lock`"
    )
