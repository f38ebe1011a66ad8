"""The reference service as a test's own: its workflows and connectors, with another ledger and another server."""

from __future__ import annotations

from typing import Final

TABLE: Final = """
[tool.kit]
app = "service:app"
workflows = "temporal.app:WORKFLOWS"
connectors = "temporal.app:CONNECTORS"
"""
"""Its `[tool.kit]`."""

SERVICE: Final = """
from temporal.app import App

app = App(
    {{
        "TEMPORAL_ADDRESS": "{address}",
        "CHECKOUT_LEDGER_URL": "sqlite:///{folder}/effects.db",
        "CHECKOUT_PAYMENTS_KEY": "sk_test",
        "CHECKOUT_STOCK_URL": "http://127.0.0.1:9",
        "CHECKOUT_FULFILMENT_URL": "http://127.0.0.1:9",
        "CHECKOUT_FULFILMENT_SECRET": "whsec_x",
        "CHECKOUT_SMTP_HOST": "127.0.0.1",
    }}
)
"""
"""Its module ``service``, for `str.format`. Nothing listens where it would send: commands do not."""
