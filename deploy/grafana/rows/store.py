"""What the backend holds, as far as it tells."""

from __future__ import annotations

from deploy.grafana.panels import Query, Row, graph
from deploy.grafana.promql import rate, total

_BY, _LEGEND = "instance, driver", "{{driver}} {{instance}}"

ROW = Row(
    "What is stored",
    [
        graph(
            "Keys",
            "At the last health check. Replicas that share a backend all tell the same number.",
            Query(total("backend_driver_keys", _BY), _LEGEND),
            Query(total("backend_driver_keys_limit", _BY), f"{_LEGEND} limit"),
            unit="short",
            width=8,
        ),
        graph(
            "Bytes",
            "Of keys and values, for drivers that tell. At the limit writes are refused.",
            Query(total("backend_driver_bytes", _BY), _LEGEND),
            Query(total("backend_driver_bytes_limit", _BY), f"{_LEGEND} limit"),
            unit="bytes",
            width=8,
        ),
        graph(
            "Keys that expired",
            "And were dropped by the embedded store; other backends see to that themselves.",
            Query(rate("backend_driver_expired_keys_total", _BY), _LEGEND),
            unit="cps",
            width=8,
        ),
    ],
)
