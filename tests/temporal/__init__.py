"""Tests of the app: settings, processes, server, worker, demo."""
