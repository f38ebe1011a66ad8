"""The client side: what callers and operators do with runs, from outside of them."""

from kit.operate.holds import Stopping, hold_off, hold_on, stopping, store_of
from kit.operate.service import Operating
from kit.operate.starting import Started, start_once

__all__ = [
    "Operating",
    "Started",
    "Stopping",
    "hold_off",
    "hold_on",
    "start_once",
    "stopping",
    "store_of",
]
