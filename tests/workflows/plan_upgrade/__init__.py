"""The plan upgrade on the real server."""
