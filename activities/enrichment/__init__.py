"""Enrichment: what is publicly known about a company."""
