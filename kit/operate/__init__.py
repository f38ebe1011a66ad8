"""The client side: what callers and operators do with runs, from outside of them."""

from kit.operate.service import Operating
from kit.operate.starting import Started, start_once

__all__ = ["Operating", "Started", "start_once"]
