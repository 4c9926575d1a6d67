"""What the backend is asked to do, however it came here."""

from __future__ import annotations

from deploy.grafana.panels import Query, Row, graph, heat
from deploy.grafana.promql import increase, quantile, rate, total

_DURATION = "backend_driver_request_duration_seconds"

_ITEMS_PER_BATCH = "\n/ ".join(
    (
        rate("backend_driver_batch_items_total", "driver, operation"),
        rate("backend_driver_requests_total", "driver, operation", 'operation=~".*_many"'),
    )
)

ROW = Row(
    "Operations of the backend",
    [
        graph(
            "Operations by name",
            "Operations that ended; a batch is one.",
            Query(
                rate("backend_driver_requests_total", "driver, operation"),
                "{{driver}} {{operation}}",
            ),
            unit="ops",
        ),
        graph(
            "Failures by error",
            "VersionConflict and the like are answers to a caller. BackendUnavailable, "
            "AccessDenied, Internal are troubles; Cancelled means that the caller went, or that "
            "the backend was slower than the deadline.",
            Query(
                rate("backend_driver_errors_total", "driver, error_type"),
                "{{driver}} {{error_type}}",
            ),
            unit="ops",
        ),
        graph(
            "Duration of operations",
            "Half, 90 % and 99 % of the operations took no longer.",
            *(
                Query(quantile(share, _DURATION, "driver"), f"{{{{driver}}}} {name}")
                for share, name in (("0.5", "50 %"), ("0.9", "90 %"), ("0.99", "99 %"))
            ),
            unit="s",
        ),
        graph(
            "Duration by operation, $percentile",
            "That share of the operations took no longer; choose it at the top.",
            Query(
                quantile("$percentile", _DURATION, "driver, operation"),
                "{{driver}} {{operation}}",
            ),
            unit="s",
        ),
        heat(
            "Durations of operations",
            "How many operations took how long.",
            Query(increase(f"{_DURATION}_bucket", "le"), "{{le}}"),
            unit="s",
        ),
        graph(
            "Failures by operation",
            "Of every error. Writes alone: look for a limit, or for a backend that is read-only.",
            Query(
                rate("backend_driver_errors_total", "driver, operation"),
                "{{driver}} {{operation}}",
            ),
            unit="ops",
        ),
        graph(
            "Keys in a batch",
            "On average. One key a batch is a caller who gains nothing by it.",
            Query(_ITEMS_PER_BATCH, "{{driver}} {{operation}}"),
            unit="short",
        ),
        graph(
            "Connections in use",
            "To the backend, at the last health check; the embedded store has none.",
            Query(
                total("backend_driver_connections_active", "instance, driver"),
                "{{driver}} {{instance}}",
            ),
            unit="short",
        ),
    ],
)
