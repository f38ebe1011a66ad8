"""The gate: nothing that strands runs in flight passes unless somebody has taken it upon themselves, in writing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kit.testing.gates.contracts.changes import Finding, Severity
from kit.testing.gates.contracts.comparing import compare
from kit.testing.gates.contracts.lock import Accepted, Lock
from kit.testing.gates.contracts.service import Service


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says.

    Attributes:
        findings: What has changed, but for what was accepted.
        accepted: What has changed and was accepted, with the reason given then.
        stale: Whether the lock does not say what the code says: the next change would be compared with something old.
    """

    findings: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, str], ...]
    stale: bool

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)

    def plain(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "findings": [finding.plain() for finding in self.findings],
            "accepted": [{**finding.plain(), "why": why} for finding, why in self.accepted],
            "stale": self.stale,
        }


def check(locked: Lock, service: Service, *, accepted: Iterable[Accepted] = ()) -> Verdict:
    """Compare a service with a lock.

    Args:
        locked: What runs in flight were promised.
        service: What the code says now.
        accepted: Breaking changes that somebody has accepted, besides those the lock itself names.

    Raises:
        DefinitionError: The service cannot be described.
    """
    known = {entry.digest: entry.why for entry in (*locked.accepted, *accepted)}
    found = compare(locked, service)
    return Verdict(
        findings=tuple(finding for finding in found if finding.digest not in known),
        accepted=tuple((finding, known[finding.digest]) for finding in found if finding.digest in known),
        stale=service.lock().model_copy(update={"accepted": locked.accepted}) != locked,
    )


def relock(locked: Lock | None, service: Service, *, why: str | None = None) -> tuple[Lock, Verdict]:
    """The lock to be written, and what has changed since the old one.

    Args:
        locked: The old lock; ``None`` for the first.
        service: What the code says now.
        why: Why its breaking changes are right, in words for whoever reviews them. Without it the breaking changes in
            the verdict are a reason not to write the lock.

    Raises:
        DefinitionError: The service cannot be described.
    """
    now = service.lock()
    if locked is None:
        return now, Verdict((), (), stale=True)
    verdict = check(locked, service)
    entries = () if why is None else verdict.of(Severity.BREAKING)
    taken = tuple(
        Accepted(change=finding.change.value, subject=finding.subject, digest=finding.digest, why=why or "")
        for finding in entries
    )
    return now.model_copy(update={"accepted": (*locked.accepted, *taken)}), verdict
