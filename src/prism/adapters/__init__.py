"""Connections between the ports and the outside: drivers, transports, telemetry."""
