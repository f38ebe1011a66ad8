"""Entitlements: which plan an account may use."""
