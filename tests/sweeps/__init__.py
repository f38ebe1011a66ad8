"""The sweeps of the reference workflows and of the small worlds, as CI runs them."""
