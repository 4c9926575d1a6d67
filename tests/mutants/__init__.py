"""Mutation of our own drivers, gateway, servicers and client: `make mutants`."""
