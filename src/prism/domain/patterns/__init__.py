"""Patterns: drivers in processes of their own, which a proxy launches, commands and watches.

From the outside in: the `Supervisor` holds all patterns of a proxy. A `Pattern` takes the
commands to one, and its `RestartLoop` keeps it served by one process after another, waiting
by a `Backoff` between failures. An `Instance` is one process from its launch to its end.
`ports` holds what adapters implement.
"""
