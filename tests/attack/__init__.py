"""Attacks on real servers: what one hostile caller can do to everybody else.

Each attack is one small function that speaks to a server over sockets of its own. While it
runs, a bystander in a process of its own makes ordinary calls, and the memory of the server
is measured. `python -m tests.attack --help` says how to run them.
"""
