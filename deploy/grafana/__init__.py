"""The Grafana dashboard of Prism. `make dashboard` writes it."""
