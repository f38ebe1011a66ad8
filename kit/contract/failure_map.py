"""From an exception to a kind and an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from kit.errors import FailureKind, Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means."""

    kind: FailureKind
    outcome: Outcome


def refused(kind: FailureKind) -> Verdict:
    """The other side said no: no effect."""
    return Verdict(kind, Outcome.REFUSED)


def not_started(kind: FailureKind) -> Verdict:
    """Nothing can have happened."""
    return Verdict(kind, Outcome.NOT_STARTED)


def unknown(kind: FailureKind) -> Verdict:
    """It may have happened."""
    return Verdict(kind, Outcome.UNKNOWN)


BUG: Final = unknown(FailureKind.BUG)
"""What an exception means that nobody classified: it may have been raised after the effect."""


@dataclass(frozen=True, slots=True)
class FailureMap:
    """How one dependency's failures are read.

    Classes are named as ``"module.Class"``, so that a contract imports no I/O library; a subclass is found through
    its bases, nearest first. ``statuses`` reads the status of an HTTP error response (``error.response.status_code``)
    or the reply code of an SMTP one (``error.code``) and wins over the class. An exception that is in neither is a
    `BUG`.

    Attributes:
        classes: Verdict by qualified class name.
        statuses: Verdict by status code.
        ranges: Verdict by the first digit of a status code that ``statuses`` does not name.
    """

    classes: Mapping[str, Verdict] = field(default_factory=dict)
    statuses: Mapping[int, Verdict] = field(default_factory=dict)
    ranges: Mapping[int, Verdict] = field(default_factory=dict)

    def extended(
        self,
        *,
        classes: Mapping[str, Verdict] | None = None,
        statuses: Mapping[int, Verdict] | None = None,
        ranges: Mapping[int, Verdict] | None = None,
    ) -> FailureMap:
        """A copy with additions; what is given wins."""
        return FailureMap(
            MappingProxyType({**self.classes, **(classes or {})}),
            MappingProxyType({**self.statuses, **(statuses or {})}),
            MappingProxyType({**self.ranges, **(ranges or {})}),
        )

    def classify(self, error: BaseException) -> Verdict:
        """What ``error`` means; `BUG` when nobody said."""
        if (status := status_of(error)) is not None:
            by_status = self.statuses.get(status) or self.ranges.get(status // 100)
            if by_status is not None:
                return by_status
        for base in type(error).__mro__:
            if (verdict := self.classes.get(f"{base.__module__}.{base.__qualname__}")) is not None:
                return verdict
        return BUG


def status_of(error: BaseException) -> int | None:
    """The HTTP status or SMTP reply code an exception carries, if it carries one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:
        status = getattr(error, "code", None)
    return status if isinstance(status, int) else None


def _both(name: str, verdict: Verdict) -> dict[str, Verdict]:
    # httpx and its continuation httpx2 have the same tree under two module names.
    return {f"httpx.{name}": verdict, f"httpx2.{name}": verdict}


HTTP_FAILURES: Final = FailureMap(
    classes=MappingProxyType(
        {
            "builtins.TimeoutError": unknown(FailureKind.TIMEOUT),
            "builtins.ConnectionRefusedError": not_started(FailureKind.UNAVAILABLE),
            "builtins.OSError": unknown(FailureKind.UNAVAILABLE),
            # The request never left this machine.
            **_both("ConnectError", not_started(FailureKind.UNAVAILABLE)),
            **_both("ConnectTimeout", not_started(FailureKind.UNAVAILABLE)),
            **_both("PoolTimeout", not_started(FailureKind.UNAVAILABLE)),
            **_both("ProxyError", not_started(FailureKind.UNAVAILABLE)),
            **_both("UnsupportedProtocol", not_started(FailureKind.INVALID)),
            **_both("LocalProtocolError", not_started(FailureKind.INVALID)),
            **_both("InvalidURL", not_started(FailureKind.INVALID)),
            # It may have arrived.
            **_both("TimeoutException", unknown(FailureKind.TIMEOUT)),
            **_both("NetworkError", unknown(FailureKind.UNAVAILABLE)),
            **_both("ProtocolError", unknown(FailureKind.UNAVAILABLE)),
            **_both("TransportError", unknown(FailureKind.UNAVAILABLE)),
            **_both("DecodingError", unknown(FailureKind.UNAVAILABLE)),
            **_both("TooManyRedirects", unknown(FailureKind.INVALID)),
            **_both("HTTPStatusError", unknown(FailureKind.UNAVAILABLE)),
        }
    ),
    statuses=MappingProxyType(
        {
            401: refused(FailureKind.UNAUTHENTICATED),
            402: refused(FailureKind.DECLINED),
            403: refused(FailureKind.FORBIDDEN),
            404: refused(FailureKind.NOT_FOUND),
            408: unknown(FailureKind.TIMEOUT),
            409: refused(FailureKind.CONFLICT),
            410: refused(FailureKind.NOT_FOUND),
            412: refused(FailureKind.CONFLICT),
            423: refused(FailureKind.CONFLICT),
            425: not_started(FailureKind.UNAVAILABLE),
            429: not_started(FailureKind.RATE_LIMITED),
            504: unknown(FailureKind.TIMEOUT),
        }
    ),
    ranges=MappingProxyType(
        {
            # A redirect is an answer nobody expected: the request was not carried out at this address.
            3: refused(FailureKind.INVALID),
            4: refused(FailureKind.INVALID),
            # A 5xx may come from a proxy in front of a server that has done the work (RFC 9110, section 15.6).
            5: unknown(FailureKind.UNAVAILABLE),
        }
    ),
)
"""How an HTTP dependency's failures are read when it says nothing else. Extend it; do not replace it."""

SQL_FAILURES: Final = FailureMap(
    classes=MappingProxyType(
        {
            "kit.errors.TransitionError": refused(FailureKind.CONFLICT),
            "sqlalchemy.exc.IntegrityError": refused(FailureKind.CONFLICT),
            "sqlalchemy.exc.DataError": refused(FailureKind.INVALID),
            "sqlalchemy.exc.OperationalError": unknown(FailureKind.UNAVAILABLE),
            "sqlalchemy.exc.InterfaceError": unknown(FailureKind.UNAVAILABLE),
            "sqlalchemy.exc.TimeoutError": not_started(FailureKind.UNAVAILABLE),
            "sqlalchemy.exc.DisconnectionError": unknown(FailureKind.UNAVAILABLE),
            "sqlalchemy.exc.PendingRollbackError": unknown(FailureKind.UNAVAILABLE),
            # What a driver has no better class for, such as a deadlock or a serialization failure.
            "sqlalchemy.exc.DBAPIError": unknown(FailureKind.UNAVAILABLE),
            "sqlalchemy.exc.ProgrammingError": unknown(FailureKind.BUG),
            "sqlalchemy.exc.NotSupportedError": unknown(FailureKind.BUG),
            "builtins.TimeoutError": unknown(FailureKind.TIMEOUT),
            "builtins.OSError": unknown(FailureKind.UNAVAILABLE),
        }
    )
)
"""How a service's own database's failures are read."""

SMTP_FAILURES: Final = FailureMap(
    classes=MappingProxyType(
        {
            "builtins.TimeoutError": unknown(FailureKind.TIMEOUT),
            "builtins.OSError": unknown(FailureKind.UNAVAILABLE),
            "aiosmtplib.errors.SMTPConnectError": not_started(FailureKind.UNAVAILABLE),
            "aiosmtplib.errors.SMTPConnectTimeoutError": not_started(FailureKind.UNAVAILABLE),
            "aiosmtplib.errors.SMTPConnectResponseError": not_started(FailureKind.UNAVAILABLE),
            "aiosmtplib.errors.SMTPAuthenticationError": refused(FailureKind.UNAUTHENTICATED),
            "aiosmtplib.errors.SMTPTimeoutError": unknown(FailureKind.TIMEOUT),
            "aiosmtplib.errors.SMTPNotSupported": not_started(FailureKind.INVALID),
            "aiosmtplib.errors.SMTPServerDisconnected": unknown(FailureKind.UNAVAILABLE),
            "aiosmtplib.errors.SMTPResponseException": unknown(FailureKind.UNAVAILABLE),
            "aiosmtplib.errors.SMTPException": unknown(FailureKind.UNAVAILABLE),
            "aiosmtplib.errors.SMTPRecipientsRefused": refused(FailureKind.INVALID),
        }
    ),
    statuses=MappingProxyType(
        {
            # RFC 4954, section 6: authentication is required, too weak, or wrong.
            530: refused(FailureKind.UNAUTHENTICATED),
            534: refused(FailureKind.UNAUTHENTICATED),
            535: refused(FailureKind.UNAUTHENTICATED),
        }
    ),
    ranges=MappingProxyType(
        {
            # RFC 5321, section 4.2.1: 4yz is a transient, 5yz a permanent negative completion; nothing is accepted.
            4: refused(FailureKind.UNAVAILABLE),
            5: refused(FailureKind.INVALID),
        }
    ),
)
"""How an SMTP server's failures are read."""
