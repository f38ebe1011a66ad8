"""Subscriptions: begin and finish their cancellation, in the service's own database."""
