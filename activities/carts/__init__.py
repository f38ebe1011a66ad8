"""Carts: complete, in the service's own database."""
