"""PromQL expressions that the panels consist of.

https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

SELECTED = 'job=~"$job", instance=~"$instance"'
"""Matchers of every selector: what the variables at the top of the dashboard select."""

SERVER_ERRORS = "UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS"
"""Status codes that are failures of the server; the others are up to its caller."""

REQUESTS = 'rpc_method=~"prism.v1.KeyValueService/.*", rpc_method!~".*/(Operate|Watch)"'
"""Matchers of methods whose calls are one request each, and not a stream of them."""

_WINDOW = "[$__rate_interval]"


def series(metric: str, where: str = "") -> str:
    """Return a selector of the metric.

    Args:
        where: more matchers.
    """
    return f"{metric}{{{SELECTED}, {where}}}" if where else f"{metric}{{{SELECTED}}}"


def total(metric: str, by: str = "", where: str = "") -> str:
    """Return the sum of a gauge."""
    return _sum(series(metric, where), by)


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Return the increase of a counter per second."""
    return _sum(f"rate({series(metric, where)}{_WINDOW})", by)


def increase(metric: str, by: str = "", where: str = "") -> str:
    """Return the increase of a counter per point of a graph."""
    return _sum(f"increase({series(metric, where)}{_WINDOW})", by)


def quantile(share: str, histogram: str, by: str = "", where: str = "") -> str:
    """Return a quantile of a histogram, in its unit.

    Args:
        share: number from 0 to 1, or a variable of the dashboard.
    """
    buckets = rate(f"{histogram}_bucket", f"le, {by}" if by else "le", where)
    return f"histogram_quantile({share}, {buckets})"


def or_zero(vector: str) -> str:
    """Return 0 where there is no series: one of errors starts with the first error."""
    return f"({vector} or vector(0))"


def _sum(vector: str, by: str) -> str:
    return f"sum by ({by}) ({vector})" if by else f"sum({vector})"
