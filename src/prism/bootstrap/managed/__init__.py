"""Parts of a server that a proxy launched as a pattern."""
