"""The wire, with a seam for each kind of client."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio.worker import Interceptor

from kit.ledger import Ledger
from kit.testing.wire.carrying import Carrier
from kit.testing.wire.guarding import WireInterceptor, WireLedger

if TYPE_CHECKING:  # a world needs only the libraries of its own clients
    import httpx

    from kit.testing.wire.http import App, Refusal


class Wire(Carrier):
    """Carries every request of one scenario, and applies its faults.

    Args:
        scenario: What goes wrong.
        controls: What the engine lets the faults of its server do.
    """

    def http(
        self, app: App, *, system: str, refused: Refusal | None = None, late: timedelta | None = None
    ) -> httpx.AsyncBaseTransport:
        """A transport for an HTTP client, to an ASGI application in this process.

        Args:
            app: The system. What it raises comes out at the client, as a defect of the world.
            system: Its name, as truth and story say it.
            refused: How it says no, for good, to a request of a call; with 422 by default.
            late: How late it may take a request into effect; see `carry`.
        """
        from kit.testing.wire.http import WireTransport, plain_refusal  # noqa: PLC0415 - see above

        return WireTransport(self, app, system=system, refused=refused or plain_refusal, late=late)

    def ledger(self, ledger: Ledger) -> Ledger:
        """The ledger for the scenario's guard."""
        return WireLedger(self, ledger)

    def interceptor(self) -> Interceptor:
        """What the scenario's worker must have outermost."""
        return WireInterceptor(self)
