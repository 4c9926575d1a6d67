"""The one place that knows all the parts: it configures, builds and runs them."""
