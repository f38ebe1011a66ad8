"""The app: worker entry point, server and cluster configuration. Nothing imports it."""
