"""Joining bytes where nothing was compiled; the compiled module of this name is `_join.pyx`."""

join = b"".join
"""One bytes object of a tuple's pieces, in order."""
