"""The services: a message in, a message out, `PrismError` raised; no transport known."""
