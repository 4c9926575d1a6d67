"""Checks of metrics, dashboard and alerts with a real Prometheus: `make observability-check`."""
