"""Field ownership: every business field has one source of truth, and what anybody else says of it is drift.

Two systems that hold one field and both write it never agree for long: the last writer wins, whoever it is. So each
field is owned by one source. What its owner says counts, the latest version of it; what another source says is not
written, and is recorded as drift: the field, its owner, who offered what, and what was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from kit.contract.model import Model
from kit.errors import DefinitionError

UNOWNED: Final = ""
"""The owner of a field that nobody owns: what is said of it is drift, whoever says it."""


class Known(Model):
    """What is held of one field.

    Attributes:
        value: As its owner said it, in JSON's types.
        version: The owner's version that said it; ``None`` where the owner counts none.
    """

    value: Any
    version: int | None = None


class Drift(Model):
    """A write that was dropped: somebody offered a value of a field that another source owns.

    Attributes:
        field: Which.
        owner: Whose word counts; `UNOWNED` where nobody's does.
        writer: Who offered.
        kept: What is held; ``None`` where the owner has not spoken yet.
        offered: What was offered.
        at: When.
    """

    field: str
    owner: str
    writer: str
    kept: Any
    offered: Any
    at: datetime


class Merged(Model):
    """What has become of an offer.

    Attributes:
        fields: What is held of every field now.
        changed: The fields whose value is another one now, in the order of the offer.
        drift: What was dropped because its writer does not own it and offered something else than is held.
        outdated: The fields of which the owner has said something newer before.
    """

    fields: dict[str, Known]
    changed: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()
    outdated: tuple[str, ...] = ()


class Ownership:
    """Which source owns which field.

    ::

        ACCOUNT = Ownership("account", {"name": "crm", "plan": "billing", "support_tier": "support"})
        merged = ACCOUNT.merge(held, {"plan": "pro"}, writer="billing", version=7, at=workflow.now())

    Args:
        name: What the fields belong to, such as ``"account"``.
        owners: The one source of truth of each field.

    Raises:
        DefinitionError: There is no field, or one has no owner.
    """

    def __init__(self, name: str, owners: Mapping[str, str]) -> None:
        self.name = name
        self.owners: Mapping[str, str] = MappingProxyType(dict(owners))
        if not owners:
            raise DefinitionError(
                f"ownership of {name!r}", rule="it names no field", fix="give {'field': 'owner', ...}"
            )
        for field, owner in owners.items():
            if not field.strip() or not owner.strip():
                raise DefinitionError(
                    f"ownership of {name!r}",
                    rule=f"field {field!r} is owned by {owner!r}",
                    fix="give every field a name and one source of truth",
                )

    def __repr__(self) -> str:
        """The name, as an error message shows it."""
        return f"Ownership({self.name!r})"

    def owned_by(self, *sources: str) -> tuple[str, ...]:
        """The fields that these sources own, in the order of their declaration."""
        return tuple(field for field, owner in self.owners.items() if owner in sources)

    def merge(
        self,
        held: Mapping[str, Known],
        offered: Mapping[str, Any],
        *,
        writer: str,
        version: int | None,
        at: datetime,
    ) -> Merged:
        """Take from an offer what its writer may say.

        A value that is held already is no change and no drift, whoever offers it. The owner's latest version wins: what
        it said under a lower version than the one held is dropped, field by field. Without versions the last word wins.

        Args:
            held: What is held now.
            offered: What the writer says, in JSON's types.
            writer: The source.
            version: The source's own version of what it says.
            at: The time that drift is recorded with.
        """
        fields, changed, drift, outdated = dict(held), list[str](), list[Drift](), list[str]()
        for field, value in offered.items():
            owner = self.owners.get(field, UNOWNED)
            known = fields.get(field)
            if owner != writer:
                if known is None or known.value != value:
                    kept = None if known is None else known.value
                    drift.append(Drift(field=field, owner=owner, writer=writer, kept=kept, offered=value, at=at))
                continue
            if known is not None and _older(version, known.version):
                outdated.append(field)
                continue
            if known is None or known.value != value:
                changed.append(field)
            fields[field] = Known(value=value, version=version)
        return Merged(fields=fields, changed=tuple(changed), drift=tuple(drift), outdated=tuple(outdated))


def differences(
    wanted: Mapping[str, Known], found: Mapping[str, Any], *, among: Iterable[str] | None = None
) -> dict[str, Any]:
    """Compare before write: the held values that a system does not have, and so needs to be told.

    Args:
        wanted: What is held.
        found: What the system has. A field it does not name it has not.
        among: The fields to be compared; all that are held when nothing is said.
    """
    compared = wanted if among is None else [field for field in among if field in wanted]
    missing = object()
    return {field: wanted[field].value for field in compared if found.get(field, missing) != wanted[field].value}


def _older(version: int | None, known: int | None) -> bool:
    return version is not None and known is not None and version < known
