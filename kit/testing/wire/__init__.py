"""The wire of a scenario: every request of a connector passes here, and here faults strike.

`Wire` numbers the calls and their requests, applies the faults of the scenario to them, and writes the story down. It
gives a world the transports its connectors need (`Wire.http`, `Wire.sql`, `Wire.smtp`, `Wire.client`), and an engine
what it must put around guard and worker (`Wire.ledger`, `Wire.interceptor`). It uses no thread, no socket and no
clock of its own.
"""

from kit.testing.wire.answers import Answers, Unclassifiable
from kit.testing.wire.controls import Controls, WorkerLost
from kit.testing.wire.wire import Wire

__all__ = ["Answers", "Controls", "Unclassifiable", "Wire", "WorkerLost"]
