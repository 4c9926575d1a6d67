"""The PromQL that the panels are made of.

https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

CHOSEN = 'job=~"$job", instance=~"$instance"'
"""Of every selector: what is chosen at the top of the dashboard."""

SERVER_ERRORS = "UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS"
"""Status codes that say something about the server; the others are up to its caller."""

REQUESTS = 'rpc_method=~"prism.v1.KeyValueService/.*", rpc_method!~".*/(Operate|Watch)"'
"""Methods of which a call is one request, and not a stream of them."""

_WINDOW = "[$__rate_interval]"


def series(metric: str, where: str = "") -> str:
    """The chosen series of a metric.

    Args:
        where: more matchers.
    """
    return f"{metric}{{{CHOSEN}, {where}}}" if where else f"{metric}{{{CHOSEN}}}"


def total(metric: str, by: str = "", where: str = "") -> str:
    """The sum of a gauge."""
    return _sum(series(metric, where), by)


def rate(metric: str, by: str = "", where: str = "") -> str:
    """What a counter grows by in a second."""
    return _sum(f"rate({series(metric, where)}{_WINDOW})", by)


def increase(metric: str, by: str = "", where: str = "") -> str:
    """What a counter has grown by, for one point of a graph."""
    return _sum(f"increase({series(metric, where)}{_WINDOW})", by)


def quantile(share: str, histogram: str, by: str = "", where: str = "") -> str:
    """Below which so many of what a histogram counted lie, in its unit.

    Args:
        share: from 0 to 1; a variable, too.
    """
    buckets = rate(f"{histogram}_bucket", f"le, {by}" if by else "le", where)
    return f"histogram_quantile({share}, {buckets})"


def _sum(vector: str, by: str) -> str:
    return f"sum by ({by}) ({vector})" if by else f"sum({vector})"
