"""Peers that need other versions of our own dependencies: each in a Python environment of its own.

A file has two sides: `python -m benchmarks.peers.NAME` makes the environment, and its functions are contestants, which
run there. Imports at the top are of the standard library alone.
"""
