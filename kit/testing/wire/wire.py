"""The wire, with a seam for each kind of client."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

from temporalio.worker import Interceptor

from kit.ledger import Ledger
from kit.testing.wire.carrying import Carrier
from kit.testing.wire.guarding import WireInterceptor, WireLedger
from kit.testing.wire.holding import WireHolds
from kit.worker.holding import HoldWatch

if TYPE_CHECKING:  # a world needs only the libraries of its own clients
    import aiosmtplib
    import httpx

    from kit.testing.wire.client import Refusing
    from kit.testing.wire.http import App, Refusal
    from kit.testing.wire.smtp import Receiver
    from kit.testing.wire.sql import Functions, SqlEngine

ClientT = TypeVar("ClientT")


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

    def sql(self, *, system: str, functions: Functions | None = None) -> SqlEngine:
        """An engine over an empty SQLite database in memory, called inline; each transaction of a call is a request.

        Its driver calls itself ``aiosqlite``. It is filled from a `kit.testing.wire.sql.SqlTemplate`.

        Args:
            system: Its name, as truth and story say it.
            functions: SQL functions without arguments, for triggers by which the database keeps a record of its own.
        """
        from kit.testing.wire.sql import SqlEngine  # noqa: PLC0415 - see above

        return SqlEngine(self, system=system, functions=functions)

    def smtp(self, mailbox: Receiver, *, system: str, late: timedelta | None = None) -> Callable[..., aiosmtplib.SMTP]:
        """What makes SMTP clients, with the arguments of `aiosmtplib.SMTP`.

        Args:
            mailbox: Takes the messages.
            system: Its name, as truth and story say it.
            late: How late it may take a message; see `carry`.
        """
        from kit.testing.wire.smtp import WireSmtp  # noqa: PLC0415 - see above

        def connect(**options: object) -> aiosmtplib.SMTP:
            return cast("aiosmtplib.SMTP", WireSmtp(self, mailbox, system=system, late=late, **options))

        return connect

    def client(
        self,
        target: ClientT,
        *,
        system: str,
        safe: Collection[str] = (),
        refused: Refusing | None = None,
        late: timedelta | None = None,
    ) -> ClientT:
        """Stands for any other client, or for a provider that is an object of this process.

        Each call of one of its async methods is a request: an outage is a `ConnectionRefusedError`, a lost reply a
        `ConnectionResetError`. All else of it is reached as it is.

        Args:
            target: The object.
            system: Its name, as truth and story say it.
            safe: The methods that change nothing.
            refused: Makes what is raised when it says no, for good; without, it never does.
            late: How late it may take a request into effect; see `carry`.
        """
        from kit.testing.wire.client import WireClient  # noqa: PLC0415 - see above

        client = WireClient(self, target, system=system, safe=safe, refused=refused, late=late)
        return cast("ClientT", client)

    def ledger(self, ledger: Ledger) -> Ledger:
        """The ledger for the scenario's guard."""
        return WireLedger(self, ledger)

    def watch(self) -> HoldWatch:
        """What the scenario's guard knows of the holds."""
        return WireHolds(self)

    def interceptor(self) -> Interceptor:
        """What the scenario's worker must have outermost."""
        return WireInterceptor(self)
