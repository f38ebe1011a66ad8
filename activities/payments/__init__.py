"""Payments: authorize, void, capture, refund."""
