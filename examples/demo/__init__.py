"""A proxy with three patterns, one of which is killed: `make demo`."""
