"""From an exception to a kind and an outcome, and no exception of a library is forgotten."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType

import aiosmtplib.errors
import httpx
import pytest
import sqlalchemy.exc

from kit.contract import (
    HTTP_FAILURES,
    SMTP_FAILURES,
    SQL_FAILURES,
    FailureKind,
    FailureMap,
    Outcome,
    Verdict,
    not_started,
    refused,
    unknown,
)
from kit.contract.failure_map import BUG
from kit.errors import TransitionError

REQUEST = httpx.Request("POST", "https://example.com")


def _http(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("no", request=REQUEST, response=httpx.Response(status, request=REQUEST))


# -- the rules -----------------------------------------------------------------------------------------------------


class _GrandparentError(Exception):
    pass


class _ParentError(_GrandparentError):
    pass


class _ChildError(_ParentError):
    code: object = None


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def test_the_nearest_base_decides() -> None:
    """A class that is not named is read as the nearest of its bases that is."""
    failures = FailureMap(
        classes={
            _name(_GrandparentError): unknown(FailureKind.TIMEOUT),
            _name(_ParentError): refused(FailureKind.INVALID),
        }
    )

    assert failures.classify(_ChildError()) == refused(FailureKind.INVALID)


def test_a_class_wins_over_its_base() -> None:
    """A class that is named is read by its own name."""
    failures = FailureMap(
        classes={_name(_ChildError): refused(FailureKind.DECLINED), _name(_ParentError): refused(FailureKind.INVALID)}
    )

    assert failures.classify(_ChildError()) == refused(FailureKind.DECLINED)


def test_what_nobody_named_is_a_bug_of_unknown_outcome() -> None:
    """An exception nobody classified may have been raised after the effect."""
    assert FailureMap().classify(_ChildError()) == BUG == Verdict(FailureKind.BUG, Outcome.UNKNOWN)


def test_a_status_wins_over_the_class() -> None:
    """The status of the response says more than the class of the exception."""
    failures = FailureMap(classes={"httpx.HTTPStatusError": BUG}, statuses={418: refused(FailureKind.DECLINED)})

    assert failures.classify(_http(418)) == refused(FailureKind.DECLINED)


def test_a_status_wins_over_its_range() -> None:
    """A status that is named is not read by its first digit."""
    failures = FailureMap(statuses={418: refused(FailureKind.DECLINED)}, ranges={4: refused(FailureKind.INVALID)})

    assert failures.classify(_http(418)) == refused(FailureKind.DECLINED)
    assert failures.classify(_http(419)) == refused(FailureKind.INVALID)


def test_a_status_nobody_named_leaves_it_to_the_class() -> None:
    """An exception whose status is not in the map is read by its class."""
    failures = FailureMap(classes={"httpx.HTTPStatusError": not_started(FailureKind.HELD)})

    assert failures.classify(_http(418)) == not_started(FailureKind.HELD)


def test_a_code_that_is_no_number_is_no_status() -> None:
    """Many exceptions have a `code` that is a string; it is not taken for a status."""
    error = _ChildError()
    error.code = "42"

    assert FailureMap(ranges={0: refused(FailureKind.INVALID)}).classify(error) == BUG


def test_extending_adds_and_replaces_and_leaves_the_original_alone() -> None:
    """An extended map says what is given, and otherwise what it said before."""
    extended = HTTP_FAILURES.extended(
        classes={_name(_ChildError): refused(FailureKind.DECLINED)},
        statuses={409: unknown(FailureKind.CONFLICT)},
        ranges={5: refused(FailureKind.UNAVAILABLE)},
    )

    assert extended.classify(_ChildError()) == refused(FailureKind.DECLINED)
    assert extended.classify(_http(409)) == unknown(FailureKind.CONFLICT)
    assert extended.classify(_http(500)) == refused(FailureKind.UNAVAILABLE)
    assert extended.classify(_http(404)) == refused(FailureKind.NOT_FOUND)
    assert HTTP_FAILURES.classify(_http(409)) == refused(FailureKind.CONFLICT)


# -- HTTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (301, refused(FailureKind.INVALID)),
        (400, refused(FailureKind.INVALID)),
        (401, refused(FailureKind.UNAUTHENTICATED)),
        (402, refused(FailureKind.DECLINED)),
        (403, refused(FailureKind.FORBIDDEN)),
        (404, refused(FailureKind.NOT_FOUND)),
        (408, unknown(FailureKind.TIMEOUT)),
        (409, refused(FailureKind.CONFLICT)),
        (410, refused(FailureKind.NOT_FOUND)),
        (412, refused(FailureKind.CONFLICT)),
        (422, refused(FailureKind.INVALID)),
        (423, refused(FailureKind.CONFLICT)),
        (425, not_started(FailureKind.UNAVAILABLE)),
        (429, not_started(FailureKind.RATE_LIMITED)),
        (500, unknown(FailureKind.UNAVAILABLE)),
        (503, unknown(FailureKind.UNAVAILABLE)),
        (504, unknown(FailureKind.TIMEOUT)),
    ],
)
def test_http_statuses(status: int, verdict: Verdict) -> None:
    """A 4xx is a refusal, a 5xx may come from a proxy before a server that did the work."""
    assert HTTP_FAILURES.classify(_http(status)) == verdict


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (httpx.ConnectError("no"), not_started(FailureKind.UNAVAILABLE)),
        (httpx.ConnectTimeout("no"), not_started(FailureKind.UNAVAILABLE)),
        (httpx.PoolTimeout("no"), not_started(FailureKind.UNAVAILABLE)),
        (httpx.ProxyError("no"), not_started(FailureKind.UNAVAILABLE)),
        (httpx.UnsupportedProtocol("no"), not_started(FailureKind.INVALID)),
        (httpx.LocalProtocolError("no"), not_started(FailureKind.INVALID)),
        (httpx.InvalidURL("no"), not_started(FailureKind.INVALID)),
        (httpx.ReadTimeout("no"), unknown(FailureKind.TIMEOUT)),
        (httpx.WriteTimeout("no"), unknown(FailureKind.TIMEOUT)),
        (httpx.ReadError("no"), unknown(FailureKind.UNAVAILABLE)),
        (httpx.WriteError("no"), unknown(FailureKind.UNAVAILABLE)),
        (httpx.CloseError("no"), unknown(FailureKind.UNAVAILABLE)),
        (httpx.RemoteProtocolError("no"), unknown(FailureKind.UNAVAILABLE)),
        (httpx.DecodingError("no"), unknown(FailureKind.UNAVAILABLE)),
        (httpx.TooManyRedirects("no"), unknown(FailureKind.INVALID)),
        (httpx.ResponseNotRead(), BUG),
        (TimeoutError(), unknown(FailureKind.TIMEOUT)),
        (ConnectionRefusedError(), not_started(FailureKind.UNAVAILABLE)),
        (ConnectionResetError(), unknown(FailureKind.UNAVAILABLE)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_http_exceptions(error: Exception, verdict: Verdict) -> None:
    """What never left this machine is not started; what may have arrived is unknown."""
    assert HTTP_FAILURES.classify(error) == verdict


def test_the_continuation_of_httpx_is_read_alike() -> None:
    """`httpx2` has the same tree under another module name, and every name is in the map twice."""

    def read(module: str) -> dict[str, Verdict]:
        return {n.partition(".")[2]: v for n, v in HTTP_FAILURES.classes.items() if n.partition(".")[0] == module}

    assert read("httpx") == read("httpx2") != {}


# -- SQL and SMTP --------------------------------------------------------------------------------------------------


def _dbapi(cls: type[sqlalchemy.exc.DBAPIError]) -> sqlalchemy.exc.DBAPIError:
    return cls("select 1", {}, Exception("driver"))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (_dbapi(sqlalchemy.exc.IntegrityError), refused(FailureKind.CONFLICT)),
        (_dbapi(sqlalchemy.exc.DataError), refused(FailureKind.INVALID)),
        (_dbapi(sqlalchemy.exc.OperationalError), unknown(FailureKind.UNAVAILABLE)),
        (_dbapi(sqlalchemy.exc.InterfaceError), unknown(FailureKind.UNAVAILABLE)),
        (_dbapi(sqlalchemy.exc.InternalError), unknown(FailureKind.UNAVAILABLE)),
        (_dbapi(sqlalchemy.exc.ProgrammingError), BUG),
        (_dbapi(sqlalchemy.exc.NotSupportedError), BUG),
        (sqlalchemy.exc.TimeoutError(), not_started(FailureKind.UNAVAILABLE)),
        (sqlalchemy.exc.CompileError("no"), BUG),
        (TransitionError("order", current="a", wanted="b", allowed=()), refused(FailureKind.CONFLICT)),
        (ConnectionResetError(), unknown(FailureKind.UNAVAILABLE)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_sql_exceptions(error: Exception, verdict: Verdict) -> None:
    """The database's own no is a refusal; a lost connection is unknown; bad SQL is a bug."""
    assert SQL_FAILURES.classify(error) == verdict


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (aiosmtplib.SMTPConnectError("no"), not_started(FailureKind.UNAVAILABLE)),
        (aiosmtplib.SMTPConnectTimeoutError("no"), not_started(FailureKind.UNAVAILABLE)),
        (aiosmtplib.SMTPReadTimeoutError("no"), unknown(FailureKind.TIMEOUT)),
        (aiosmtplib.SMTPServerDisconnected("no"), unknown(FailureKind.UNAVAILABLE)),
        (aiosmtplib.SMTPNotSupported("no"), not_started(FailureKind.INVALID)),
        (aiosmtplib.SMTPDataError(451, "later"), refused(FailureKind.UNAVAILABLE)),
        (aiosmtplib.SMTPDataError(550, "no"), refused(FailureKind.INVALID)),
        (aiosmtplib.SMTPAuthenticationError(535, "no"), refused(FailureKind.UNAUTHENTICATED)),
        (aiosmtplib.SMTPRecipientsRefused([]), refused(FailureKind.INVALID)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_smtp_exceptions(error: Exception, verdict: Verdict) -> None:
    """A 4yz or 5yz says that the message was not taken; a lost connection says nothing."""
    assert SMTP_FAILURES.classify(error) == verdict


# -- drift guards --------------------------------------------------------------------------------------------------

# Bases nobody raises, and what only code that uses the library wrongly can cause: left to BUG on purpose.
HTTP_BUGS = {
    "CookieConflict",
    "HTTPError",
    "RequestError",
    "RequestNotRead",
    "ResponseNotRead",
    "StreamClosed",
    "StreamConsumed",
    "StreamError",
    "TransportError",
}
SMTP_BUGS = {"SMTPException"}
SQL_BUGS = {
    "AmbiguousColumnError",
    "AmbiguousForeignKeysError",
    "ArgumentError",
    "AwaitRequired",
    "CircularDependencyError",
    "CompileError",
    "ConstraintColumnNotFoundError",
    "DuplicateColumnError",
    "EmulatedDBAPIException",
    "IdentifierError",
    "IllegalStateChangeError",
    "InvalidRequestError",
    "MissingGreenlet",
    "MultipleResultsFound",
    "NoDBAPILoaded",
    "NoForeignKeysError",
    "NoInspectionAvailable",
    "NoReferenceError",
    "NoReferencedColumnError",
    "NoReferencedTableError",
    "NoResultFound",
    "NoSuchColumnError",
    "NoSuchModuleError",
    "NoSuchTableError",
    "ObjectNotExecutableError",
    "ResourceClosedError",
    "SQLAlchemyError",
    "StatementError",
    "UnboundExecutionError",
    "UnreflectableTableError",
    "UnsupportedCompilationError",
}

CATCH_ALL = {
    "aiosmtplib.errors.SMTPException",
    "builtins.OSError",
    "builtins.TimeoutError",
    "httpx.TransportError",
}
"""In the maps for what a future version may add; a class that is read through these alone has been forgotten."""


def _forgotten(module: ModuleType, failures: FailureMap) -> Iterable[str]:
    for name, cls in vars(module).items():
        if not (isinstance(cls, type) and issubclass(cls, Exception)) or issubclass(cls, Warning):
            continue
        if cls.__module__ != module.__name__:
            continue
        if not any(base in failures.classes and base not in CATCH_ALL for base in map(_name, cls.__mro__)):
            yield name


@pytest.mark.parametrize(
    ("module", "failures", "bugs"),
    [
        (httpx, HTTP_FAILURES, HTTP_BUGS),
        (aiosmtplib.errors, SMTP_FAILURES, SMTP_BUGS),
        (sqlalchemy.exc, SQL_FAILURES, SQL_BUGS),
    ],
    ids=["httpx", "aiosmtplib", "sqlalchemy"],
)
def test_no_exception_of_a_library_is_forgotten(module: ModuleType, failures: FailureMap, bugs: set[str]) -> None:
    """A class that a library grows is mapped, or left to BUG on purpose; it is never overlooked."""
    assert set(_forgotten(module, failures)) == bugs


def test_the_drift_guard_sees_a_new_exception() -> None:
    """A class that is read through the catch-all alone counts as forgotten."""
    grown = ModuleType("httpx")
    cls = type("QuantumError", (httpx.TransportError,), {"__module__": "httpx"})
    vars(grown)["QuantumError"] = cls

    assert list(_forgotten(grown, HTTP_FAILURES)) == ["QuantumError"]


@pytest.mark.parametrize("failures", [HTTP_FAILURES, SMTP_FAILURES, SQL_FAILURES], ids=["http", "smtp", "sql"])
def test_every_name_in_a_map_exists(failures: FailureMap) -> None:
    """A class that a library drops or renames does not stay in the map unseen."""
    missing = [
        name
        for name in failures.classes
        if not name.startswith("httpx2.")
        and not hasattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
    ]

    assert missing == []
