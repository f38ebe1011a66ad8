"""What the service is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from kit.errors import DefinitionError

PREFIX: Final = "CHECKOUT_"
"""Every setting's variable begins with it: ``payments_url`` is read from ``CHECKOUT_PAYMENTS_URL``.

Where Temporal is, is Temporal's own configuration: ``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_PROFILE``,
... (https://docs.temporal.io/develop/environment-configuration).
"""


class Settings(BaseModel):
    """The settings of one worker process. What has no default must be there.

    Attributes:
        task_queue: Where the workers take their tasks from.
        ledger_url: Where effects are recorded; see `kit.ledger.SqlLedger`.
        shop_url: The service's own database, for SQLAlchemy: orders, carts, subscriptions and the audit trail.
        payments_url: Stripe, or whoever speaks its wire format.
        payments_key: The secret key for it.
        stock_url: The warehouse.
        fulfilment_url: Where the fulfilment partner receives webhooks.
        fulfilment_secret: The secret shared with it, as ``whsec_<base64>``.
        smtp_host: The mail server.
        smtp_port: Its port.
        crm_url: HubSpot, or whoever speaks its wire format.
        crm_token: The access token for it.
        tickets_url: Zendesk, or whoever speaks its wire format. Empty for none: what needs it is refused.
        tickets_credentials: For it, as ``user:password``; for an API token ``<email>/token:<token>``.
        entitlements_url: The entitlement service. Empty for none: what needs it is refused.
        enrichment_url: The enrichment service. Empty for none: whoever asks it goes on without.
        crm_webhook_secrets: Shared with the CRM, which delivers events to the intake, as ``whsec_<base64>``; several,
            with commas between, while one is being replaced. Empty: the CRM does not deliver.
        billing_webhook_secrets: The same for billing.
        support_webhook_secrets: The same for support.
        build_id: Which code this is, such as a commit. Empty: the SDK computes one from every loaded module, for
            seconds, at each start.
        log_level: The least level that is logged.
        metrics_address: Where Prometheus fetches metrics, as ``host:port``; empty for no metrics.
        graceful_seconds: How long what is at work may take when the worker is told to stop.
        attempt_cap_seconds: No attempt may take longer, whatever its operation's timeout says; see
            `temporal.timeouts`. For demonstrations; empty for what the contracts say.
        sticky_seconds: How long a workflow waits for the worker that ran it before another one takes over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_queue: str = "checkout"
    ledger_url: str = "sqlite:///effects.db"
    shop_url: str = "sqlite+aiosqlite:///shop.db"
    payments_url: str = "https://api.stripe.com"
    payments_key: SecretStr
    stock_url: str
    fulfilment_url: str
    fulfilment_secret: SecretStr
    smtp_host: str
    smtp_port: int = Field(default=25, gt=0, lt=65536)
    crm_url: str = "https://api.hubapi.com"
    crm_token: SecretStr = SecretStr("")
    tickets_url: str = ""
    tickets_credentials: SecretStr = SecretStr("")
    entitlements_url: str = ""
    enrichment_url: str = ""
    crm_webhook_secrets: SecretStr = SecretStr("")
    billing_webhook_secrets: SecretStr = SecretStr("")
    support_webhook_secrets: SecretStr = SecretStr("")
    build_id: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_address: str | None = None
    graceful_seconds: float = Field(default=30.0, ge=0)
    attempt_cap_seconds: float | None = Field(default=None, gt=0)
    sticky_seconds: float = Field(default=10.0, gt=0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            DefinitionError: Something is missing, unknown or wrong; names every variable concerned.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and value
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            wrong = "; ".join(_say(str(problem["loc"][0]), problem["msg"], given) for problem in error.errors())
            raise DefinitionError(
                "environment",
                rule=wrong,
                fix="set these variables; temporal/settings.py says what each means, and `kit demo` needs none",
            ) from error

    def environment(self) -> dict[str, str]:
        """The variables that say the same, for a process that is to be started with these settings."""
        said = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None:
                said[_variable(name)] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        return said

    @property
    def attempt_cap(self) -> timedelta | None:
        """``attempt_cap_seconds`` as a duration."""
        return None if self.attempt_cap_seconds is None else timedelta(seconds=self.attempt_cap_seconds)


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _say(name: str, message: str, given: Mapping[str, str]) -> str:
    if name not in given:
        return f"{_variable(name)} is missing"
    if name not in Settings.model_fields:
        return f"{_variable(name)} is no setting"
    secret = Settings.model_fields[name].annotation is SecretStr
    return f"{_variable(name)}={'(secret)' if secret else repr(given[name])}: {message}"
