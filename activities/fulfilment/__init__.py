"""Fulfilment: request a shipment."""
