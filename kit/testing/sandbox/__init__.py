"""Sandbox providers: payments, stock, a webhook receiver, e-mail, a CRM, tickets, entitlements and enrichment.

On real sockets, failing on command. They speak real wire formats and keep their own record of what they did, which is
the oracle of every test and of the demo. Faults are scripted call by call through an HTTP control endpoint, so the
code under test can live in another process, and be killed.

    async with Sandbox.start() as sandbox:
        await sandbox.control.fault(Operation.CAPTURE, FaultKind.DROP_REPLY, match="ORDER-1")
        ...
        assert not violations(await sandbox.control.effects())
"""

from kit.testing.sandbox.app import WEBHOOK_SECRET, SandboxApp, SandboxTransport
from kit.testing.sandbox.control import SandboxControl
from kit.testing.sandbox.exchange import ConnectionDropped
from kit.testing.sandbox.faults import OPERATIONS, Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.records import (
    CallNote,
    CallRecord,
    EffectKind,
    EffectRecord,
    Violation,
    ViolationRule,
    live_effects,
    violations,
)
from kit.testing.sandbox.server import Sandbox

__all__ = [
    "OPERATIONS",
    "WEBHOOK_SECRET",
    "CallNote",
    "CallRecord",
    "ConnectionDropped",
    "EffectKind",
    "EffectRecord",
    "Fault",
    "FaultKind",
    "Operation",
    "Provider",
    "Sandbox",
    "SandboxApp",
    "SandboxControl",
    "SandboxTransport",
    "Violation",
    "ViolationRule",
    "live_effects",
    "violations",
]
