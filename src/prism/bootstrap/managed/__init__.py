"""A server that a proxy commands: what is different from one that stands alone."""
