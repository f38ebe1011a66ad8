"""The client side, on a real server."""
