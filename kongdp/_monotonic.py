"""Monotonic seconds where nothing was compiled; the compiled module of this name is `_monotonic.pyx`."""

from time import monotonic

__all__ = ["monotonic"]
