"""Logs, metrics, traces, the page, and the HTTP endpoints."""
