"""The service's settings, read from its environment."""

from __future__ import annotations

import pytest

from kit.errors import DefinitionError
from temporal.settings import Settings

COMPLETE = {
    "CHECKOUT_PAYMENTS_KEY": "sk_test_1",
    "CHECKOUT_STOCK_URL": "http://stock",
    "CHECKOUT_FULFILMENT_URL": "http://partner/hook",
    "CHECKOUT_FULFILMENT_SECRET": "whsec_c2VjcmV0",
    "CHECKOUT_SMTP_HOST": "mail",
}


def test_what_is_needed_suffices() -> None:
    """Everything that can have a default has one, and other variables are left alone."""
    settings = Settings.from_environment({**COMPLETE, "PATH": "/bin"})

    assert settings.payments_url == "https://api.stripe.com"
    assert settings.attempt_cap is None


def test_every_missing_variable_is_named() -> None:
    """One message names all that is missing, not the first only."""
    with pytest.raises(DefinitionError) as caught:
        Settings.from_environment({"CHECKOUT_SMTP_HOST": "mail", "CHECKOUT_STOCK_URL": ""})

    assert caught.value.rule == (
        "CHECKOUT_PAYMENTS_KEY is missing; CHECKOUT_STOCK_URL is missing; CHECKOUT_FULFILMENT_URL is missing; "
        "CHECKOUT_FULFILMENT_SECRET is missing"
    )


def test_unknown_variable_is_refused() -> None:
    """A misspelt variable is an error, not a default."""
    with pytest.raises(DefinitionError, match="CHECKOUT_STOCKURL is no setting"):
        Settings.from_environment({**COMPLETE, "CHECKOUT_STOCKURL": "http://x"})


def test_wrong_value_is_shown() -> None:
    """A value that does not fit is shown with what was expected."""
    with pytest.raises(DefinitionError, match=r"CHECKOUT_SMTP_PORT='mail': .*valid integer"):
        Settings.from_environment({**COMPLETE, "CHECKOUT_SMTP_PORT": "mail"})


def test_secrets_are_not_shown() -> None:
    """Neither the settings nor a message repeats a secret."""
    settings = Settings.from_environment(COMPLETE)

    assert "sk_test_1" not in repr(settings)
    assert "whsec" not in repr(settings)


def test_environment_says_the_same() -> None:
    """Settings written as variables read back as the same settings."""
    settings = Settings.from_environment({**COMPLETE, "CHECKOUT_ATTEMPT_CAP_SECONDS": "2.5"})

    assert Settings.from_environment(settings.environment()) == settings
