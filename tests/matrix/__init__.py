"""Runs the tests on other servers, other versions of Python and other dependencies."""
