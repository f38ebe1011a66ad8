"""Orders: create and cancel, in the service's own database."""
