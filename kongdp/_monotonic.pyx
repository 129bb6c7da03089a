# cython: language_level=3
"""Monotonic seconds for compiled modules: one call into C. The plain module of this name is `_monotonic.py`."""

from cpython.time cimport monotonic as _read


cpdef double monotonic() except? -1:
    """Seconds that never go back; the same clock as time.monotonic."""
    return _read()
