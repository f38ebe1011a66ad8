"""Inventory: reserve and release stock."""
