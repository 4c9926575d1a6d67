"""What `make observability-check` looks at: Prism as a real Prometheus sees it."""
