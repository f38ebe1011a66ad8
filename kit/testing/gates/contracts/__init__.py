"""The contract lock: what runs in flight were promised, and what a change would do to them."""

from kit.testing.gates.contracts.changes import RULES, Change, Finding, Rule, Severity
from kit.testing.gates.contracts.comparing import compare
from kit.testing.gates.contracts.gate import Verdict, check, relock
from kit.testing.gates.contracts.lock import FILE, FORMAT, Accepted, Lock
from kit.testing.gates.contracts.service import Service

__all__ = [
    "FILE",
    "FORMAT",
    "RULES",
    "Accepted",
    "Change",
    "Finding",
    "Lock",
    "Rule",
    "Service",
    "Severity",
    "Verdict",
    "check",
    "compare",
    "relock",
]
