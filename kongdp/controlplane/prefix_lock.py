"""Who may work with a prefix: one control plane, or one command that replaces what a control plane keeps there.

In: a prefix.  Out: a lock that ends with the process that holds it, or PrefixError. Cold.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from kongdp.errors import KongdpError, Source


class PrefixError(KongdpError):
    """The prefix cannot be used, or somebody else does; the message says which."""

    source = Source.OPERATOR


@contextmanager
def only_one(prefix: Path) -> Iterator[TextIO]:
    """Hold the prefix's lock: two control planes over one prefix would both be its authority. Raises PrefixError."""
    directory = prefix / "pids"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "control-plane.lock").open("a")
    except OSError as error:
        raise PrefixError(f"prefix: cannot use {prefix}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PrefixError(f"prefix: another control plane is running with {prefix}") from None
        yield lock
