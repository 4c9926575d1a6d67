"""A proxy: serves several drivers, each in a process of its own."""
