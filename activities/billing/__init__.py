"""Billing: read, cancel and change subscriptions, refund what was not used."""
