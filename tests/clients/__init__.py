"""Clients of the Redis protocol, unmodified, against servers with each backend (`make clients`)."""
