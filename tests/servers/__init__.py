"""Real servers for tests, each a process on a free port of loopback."""
