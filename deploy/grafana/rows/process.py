"""The process and its Python."""

from __future__ import annotations

from deploy.grafana.panels import Query, Row, graph
from deploy.grafana.promql import rate, total

ROW = Row(
    "Process",
    [
        graph(
            "Processor",
            "100 % is one core. One process uses little more than one: at that, start another.",
            Query(rate("process_cpu_seconds_total", "instance"), "{{instance}}"),
            unit="percentunit",
        ),
        graph(
            "Memory",
            "Resident. The embedded store keeps everything in it.",
            Query(total("process_resident_memory_bytes", "instance"), "{{instance}}"),
            unit="bytes",
        ),
        graph(
            "File descriptors",
            "A connection takes one; at the limit no more are accepted.",
            Query(total("process_open_fds", "instance"), "{{instance}}"),
            Query(total("process_max_fds", "instance"), "{{instance}} limit"),
            unit="short",
            width=8,
        ),
        graph(
            "Garbage collections",
            "By generation; a collection of generation 2 stops the process for longest.",
            Query(
                rate("python_gc_collections_total", "instance, generation"),
                "{{instance}} generation {{generation}}",
            ),
            unit="cps",
            width=8,
        ),
        graph(
            "Objects collected",
            "Objects in cycles that the garbage collector freed.",
            Query(
                rate("python_gc_objects_collected_total", "instance, generation"),
                "{{instance}} generation {{generation}}",
            ),
            unit="cps",
            width=8,
        ),
    ],
)
