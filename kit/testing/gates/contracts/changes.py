"""What can change in a contract, what it does to runs in flight, and what to do about it. A closed vocabulary.

Two directions count. *Forward*: the new code reads what the old has written: payloads in the histories of runs in
flight, results in the ledger, keys that providers remember. What breaks there strands runs: it is **breaking**. *Back*:
the old code reads what the new one writes, after a rollback, and on the old workers that still run beside the new ones
during a deploy. What breaks only there can be shipped with care: it is **careful**, and says in which order. The rest
is **harmless**.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kit.testing.gates.contracts.reading import digest


class Severity(StrEnum):
    """What a change asks for."""

    BREAKING = "breaking"
    CAREFUL = "careful"
    HARMLESS = "harmless"


class Change(StrEnum):
    """One kind of change; `RULES` says what each means."""

    OPERATION_REMOVED = "operation-removed"
    OPERATION_ADDED = "operation-added"
    VERSION_CHANGED = "version-changed"
    KEY_CHANGED = "key-changed"
    FINGERPRINT_CHANGED = "fingerprint-changed"
    ONCE_CHANGED = "once-changed"
    TTL_TOO_SHORT = "ttl-too-short"
    TTL_SHORTENED = "ttl-shortened"
    TTL_LENGTHENED = "ttl-lengthened"
    EFFECT_WEAKENED = "effect-weakened"
    EFFECT_ADDED = "effect-added"
    EFFECT_STRENGTHENED = "effect-strengthened"
    EFFECT_RENAMED = "effect-renamed"
    COMPENSATION_DROPPED = "compensation-dropped"
    COMPENSATION_ADDED = "compensation-added"
    PROBE_DROPPED = "probe-dropped"
    PROBE_ADDED = "probe-added"
    TIMEOUT_SHORTENED = "timeout-shortened"
    TIMEOUT_LENGTHENED = "timeout-lengthened"
    LOCAL_CHANGED = "local-changed"
    DEPENDENCY_CHANGED = "dependency-changed"
    TYPE_NARROWED = "type-narrowed"
    TYPE_MISREAD = "type-misread"
    DEFAULT_CHANGED = "default-changed"
    TYPE_WIDENED = "type-widened"
    TYPE_CHANGED = "type-changed"
    SETTLE_SHORTENED = "settle-shortened"
    SETTLE_LENGTHENED = "settle-lengthened"
    FAILURE_TRUSTED = "failure-trusted"
    FAILURE_DOUBTED = "failure-doubted"
    FAILURE_REREAD = "failure-reread"
    RETRY_ATTEMPTS = "retry-attempts"
    RETRY_PACE = "retry-pace"
    WORKFLOW_REMOVED = "workflow-removed"
    WORKFLOW_ADDED = "workflow-added"
    ARGUMENTS_CHANGED = "arguments-changed"
    DEADLINE_CHANGED = "deadline-changed"
    REPLAY_WINDOW_CHANGED = "replay-window-changed"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a kind of change means.

    Attributes:
        severity: What it asks for.
        reason: What it does to runs in flight, or after a rollback.
        fix: What to do instead, or in which order.
    """

    severity: Severity
    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One change of one contract.

    Attributes:
        change: Which kind.
        subject: Of what.
        was: The old value, as the lock has it, in words.
        now: The new value, in words.
        detail: What shows it, such as the document that is no longer read; empty where old and new say it all.
    """

    change: Change
    subject: str
    was: str
    now: str
    detail: str = ""

    @property
    def rule(self) -> Rule:
        """What it means."""
        return RULES[self.change]

    @property
    def severity(self) -> Severity:
        """What it asks for."""
        return self.rule.severity

    @property
    def digest(self) -> str:
        """Names this very change: the same change with other values is another one."""
        return digest([self.change.value, self.subject, self.was, self.now, self.detail])

    def plain(self) -> dict[str, str]:
        """The finding as JSON values."""
        return {
            "change": self.change.value,
            "severity": self.severity.value,
            "subject": self.subject,
            "was": self.was,
            "now": self.now,
            "detail": self.detail,
            "reason": self.rule.reason,
            "fix": self.rule.fix,
            "digest": self.digest,
        }


def _breaking(reason: str, fix: str) -> Rule:
    return Rule(Severity.BREAKING, reason, fix)


def _careful(reason: str, fix: str) -> Rule:
    return Rule(Severity.CAREFUL, reason, fix)


def _harmless(reason: str) -> Rule:
    return Rule(Severity.HARMLESS, reason, "nothing to do but to lock it")


_NEW_NAME: Final = (
    "leave this operation as it is and declare the new one under a new name beside it; remove the old one when no run "
    "that knows it is open or can still be unwound"
)

RULES: Final[Mapping[Change, Rule]] = {
    Change.OPERATION_REMOVED: _breaking(
        "runs in flight that scheduled it, or must still undo it, find no activity of this name",
        "keep the operation and its connector until no run that knows it is open or can still be unwound",
    ),
    Change.OPERATION_ADDED: _harmless("nothing in flight knows it"),
    Change.VERSION_CHANGED: _harmless("the version is for readers: it is part of no key and of no name"),
    Change.KEY_CHANGED: _breaking(
        "an effect that has happened, or may have, under the old key is not found under the new one, and happens again",
        _NEW_NAME,
    ),
    Change.FINGERPRINT_CHANGED: _breaking(
        "a retry of a request in flight no longer matches what its key stands for, and is refused as key_reused",
        _NEW_NAME,
    ),
    Change.ONCE_CHANGED: _breaking(
        "attempts in flight were made under the other strategy: what it would need to resolve them (a key the provider "
        "was given, a row in the service's own database) is not there",
        _NEW_NAME,
    ),
    Change.TTL_TOO_SHORT: _breaking(
        "a run in flight may repeat the effect until its deadline and replay window are over, when the provider has "
        "forgotten the key",
        "declare how the operation is looked up (Once.by_probe() under a new name), or first shorten the saga's "
        "deadline or replay window and wait until the runs started before are closed",
    ),
    Change.TTL_SHORTENED: _careful(
        "an outcome that stays unknown for longer goes to the probe, or to a person, sooner than before",
        "make sure that there is a probe, or that somebody answers the tasks",
    ),
    Change.TTL_LENGTHENED: _careful(
        "a key is trusted for longer: if the provider has forgotten it by then, the effect happens again",
        "name the page where the provider documents the time",
    ),
    Change.EFFECT_WEAKENED: _breaking(
        "runs in flight that took this step and turn round can no longer undo it, and park",
        _NEW_NAME,
    ),
    Change.EFFECT_ADDED: _breaking(
        "attempts in flight were scheduled as reads, without a key: their effect could not be kept to one",
        _NEW_NAME,
    ),
    Change.EFFECT_STRENGTHENED: _careful(
        "after a rollback the old code cannot undo the steps that the new one took for undoable, and parks",
        "ship the compensation first, under the old effect's rules; let workflows rely on it one release later",
    ),
    Change.EFFECT_RENAMED: _harmless("both effects have an undo, and it is asked for in the same way"),
    Change.COMPENSATION_DROPPED: _breaking(
        "runs in flight that took this step and turn round have nobody to undo it, and park",
        "keep it until no run that took the step is open or can still be unwound, however unused it looks",
    ),
    Change.COMPENSATION_ADDED: _harmless("nothing in flight counts on its absence"),
    Change.PROBE_DROPPED: _breaking(
        "an outcome that is unknown now can no longer be looked up: it goes to a person",
        "keep the probe until the ledger has no row of this operation whose outcome is unknown",
    ),
    Change.PROBE_ADDED: _harmless("what a machine could not know it can now look up"),
    Change.TIMEOUT_SHORTENED: _careful(
        "attempts that succeeded late now end unknown",
        "compare it with the slowest calls of the last weeks (the latency histogram's 99.9th percentile)",
    ),
    Change.TIMEOUT_LENGTHENED: _harmless("attempts in flight keep the lease they took"),
    Change.LOCAL_CHANGED: _breaking(
        "the histories of runs in flight have the step as the other kind of activity: they no longer replay",
        "declare the operation under a new name, or guard the new use with workflow.patched() and keep both",
    ),
    Change.DEPENDENCY_CHANGED: _careful(
        "the type of its failures ('<dependency>.<kind>') and the labels of its metrics change",
        "look for workflows, alerts and dashboards that name the old one; the rules of the two are compared, too",
    ),
    Change.TYPE_NARROWED: _breaking(
        "documents written by the old code, in the histories of runs in flight and in the ledger, are no longer read",
        "only add fields that have a default and only widen what is allowed; for anything else declare a new operation "
        "(or workflow) beside this one, until nothing written by the old one can be read again",
    ),
    Change.TYPE_MISREAD: _breaking(
        "documents written by the old code are read as something else, without a word",
        "keep the field's name and meaning and add another field; derive nested types from kit.Model, which refuses "
        "what it does not know",
    ),
    Change.DEFAULT_CHANGED: _breaking(
        "what left the field out means something else now, and the fingerprint of requests in flight changes, so that "
        "their retries are refused as key_reused",
        "keep the default and state the new value where the request is made",
    ),
    Change.TYPE_WIDENED: _careful(
        "the old code does not read what the new one writes: a rollback, or an old worker beside the new ones, strands "
        "these runs",
        "ship the wider type first and use it one release later; else do not roll back while runs of this release are "
        "open",
    ),
    Change.TYPE_CHANGED: _careful(
        "the schema differs, and no document that was tried tells the old from the new",
        "read the difference in the lock yourself",
    ),
    Change.SETTLE_SHORTENED: _breaking(
        "a look-up that finds nothing is believed sooner: a request in flight may still take effect after it, and "
        "after its undo",
        "keep the longer time unless the provider has confirmed the shorter one; then accept this change, when no "
        "outcome is unknown",
    ),
    Change.SETTLE_LENGTHENED: _harmless("unknown outcomes wait a little longer before they are believed"),
    Change.FAILURE_TRUSTED: _breaking(
        "a failure after which the effect may have happened is taken for a clean one: the step is skipped by the undo, "
        "and the effect stays",
        "leave it unknown unless the provider documents that nothing has happened; the probe resolves it",
    ),
    Change.FAILURE_DOUBTED: _careful(
        "a failure that was clean leaves doubt now: it is looked up, or waits for a person",
        "make sure that there is a probe, or that somebody answers the tasks",
    ),
    Change.FAILURE_REREAD: _careful(
        "the kind decides how often it is tried again, and which error the workflow sees",
        "look for workflows that catch the old kind",
    ),
    Change.RETRY_ATTEMPTS: _careful(
        "runs in flight are retried more often, or given up sooner, than they were started for",
        "make sure that the other side bears it, and that the deadlines do",
    ),
    Change.RETRY_PACE: _harmless("only the waits change"),
    Change.WORKFLOW_REMOVED: _breaking(
        "runs in flight find no workflow of this name: their tasks fail until it is back",
        "keep the class until no run of it is open; give the new one a name of its own",
    ),
    Change.WORKFLOW_ADDED: _harmless("nothing in flight knows it"),
    Change.ARGUMENTS_CHANGED: _breaking(
        "runs in flight were started with another number of arguments and cannot be replayed",
        "take one argument, a kit.Model, and add fields with a default to it",
    ),
    Change.DEADLINE_CHANGED: _careful(
        "runs in flight are measured by the new deadline from their start",
        "shorten it when few runs are open; compare it with the durations in the run summaries",
    ),
    Change.REPLAY_WINDOW_CHANGED: _careful(
        "events that come again after a shorter window are taken for new ones",
        "compare it with how long the senders repeat",
    ),
}
"""What every kind of change means."""
