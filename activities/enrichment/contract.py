"""What may be asked of the enrichment service."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from activities.payments.contract import Id
from kit.contract import Dependency, Effect, FailureKind, Model, Operation, Retry

_SOON: Final = Retry(attempts=3, cap=timedelta(seconds=5))
"""Nobody waits for it: who asks goes on without the answer, and asks again some other day."""

ENRICHMENT: Final = Dependency(
    name="enrichment",
    owner="sales-team",
    settle=timedelta(0),  # nothing is ever written
    retry={
        FailureKind.TIMEOUT: _SOON,
        FailureKind.UNAVAILABLE: _SOON,
        FailureKind.RATE_LIMITED: _SOON,
        FailureKind.CIRCUIT_OPEN: _SOON,
    },
    runbook="docs/explanation/failure-model.md#enrichment",
)


class LookUp(Model):
    """Ask what is publicly known about a company."""

    account_id: Id
    domain: Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$", max_length=253)]


class Enrichment(Model):
    """What is publicly known about a company. ``None``: nobody knows."""

    domain: str
    name: str | None = None
    industry: str | None = None
    employees: int | None = None


look_up = Operation(
    "enrichment.look_up",
    LookUp,
    Enrichment,
    dependency=ENRICHMENT,
    effect=Effect.READ,
    timeout=timedelta(seconds=5),
    summary="Look up {domain}",
)
"""Look a company up. When the service is down it fails within seconds: go on without it."""
