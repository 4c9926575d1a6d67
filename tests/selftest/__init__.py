"""The acceptance suite, tested: `make suite-selftest`."""
