"""A proxy: a server whose driver is a handful of drivers, each in a process of its own."""
