"""Tests of the reference connectors, against providers on real sockets."""
