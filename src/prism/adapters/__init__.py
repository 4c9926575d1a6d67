"""What connects the ports to the world: drivers, transports, telemetry."""
