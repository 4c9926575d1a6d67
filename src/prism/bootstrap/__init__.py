"""Configures, builds and runs a server: the only package that knows all parts."""
