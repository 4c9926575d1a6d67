"""Traces through OpenTelemetry. Importing this package loads none of it.

https://opentelemetry.io/docs/specs/semconv/
"""
