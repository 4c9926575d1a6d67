"""Patterns: drivers in processes of their own, launched, driven and watched over.

`Instance` is one process from its launch to its end; `Pattern` keeps one pattern
served by such processes; `Supervisor` is all of them, in the shape of a driver's
lifecycle. What they need of the world outside is in `outbound`.
"""
