"""The client side: what callers and operators do with runs, from outside of them."""

from kit.operate.delivering import deliver
from kit.operate.holds import Stopping, hold_off, hold_on, stopping, store_of
from kit.operate.intake import Answer, Delivery, Endpoint, ToEntity, ToRun, Unreadable, intake
from kit.operate.service import Operating
from kit.operate.starting import Started, start_once

__all__ = [
    "Answer",
    "Delivery",
    "Endpoint",
    "Operating",
    "Started",
    "Stopping",
    "ToEntity",
    "ToRun",
    "Unreadable",
    "deliver",
    "hold_off",
    "hold_on",
    "intake",
    "start_once",
    "stopping",
    "store_of",
]
