"""What a running Prism tells: logs, health and readiness."""
