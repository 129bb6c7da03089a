"""Memory for counter segments, made as the supervisor makes it: a memfd that is filled, not sparse."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

SIZE = 65536


@contextmanager
def memory(size: int = SIZE) -> Iterator[int]:
    """The number of a blank memory file of `size` bytes."""
    fd = os.memfd_create("counters")
    try:
        os.posix_fallocate(fd, 0, size)
        yield fd
    finally:
        os.close(fd)
