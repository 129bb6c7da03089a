"""The field lines of one head while plugins read and edit them, and the query arguments of a target.

In: the lines as they came.  Out: the same bytes with some lines taken out and others added at the end; nothing is parsed until a
plugin asks, nothing is rewritten until one edits.
House rules: nothing can end its line or begin another (controls in a value become spaces, a name that is no token is an error),
because both may come from clients through templates. Fields that the gateway writes itself (Connection, framing, forwarded fields) can
be read, but an edit of them reaches nobody, except Host.
Hot for routes with plugins. Source: RFC 9110 section 5; query arguments as nginx-lua's get_uri_args reads them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from kongdp._join import join
from kongdp.http1._lines import find_values
from kongdp.http1.fields import NOTED, REQUEST_FIELDS, RESPONSE_FIELDS
from kongdp.http1.messages import Fields

REQUEST_FIXED = frozenset(name for name, kind in REQUEST_FIELDS.items() if kind < NOTED)
RESPONSE_FIXED = frozenset(name for name, kind in RESPONSE_FIELDS.items() if kind < NOTED)
"""Lower-case names that the gateway writes, or takes out, itself."""

ARGUMENTS_MAX = 1000
"""Query or form arguments looked at; Kong's lua_max_uri_args and lua_max_post_args allow up to this."""

_CONTROLS = bytes(range(32)).replace(b"\t", b"") + b"\x7f"
_UNSAFE = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_is_token = re.compile(rb"[A-Za-z0-9!#$%&'*+\-.^_`|~]+").fullmatch

_ALL_LINES = sys.maxsize
"""Every line is looked at, although Kong's plugins see a hundred: what is to be taken out must not hide behind the hundredth."""


@lru_cache(4096)
def _lower_token(name: bytes) -> bytes:
    if _is_token(name) is None:
        raise ValueError(f"{name[:40]!r} is not a name of a field")
    return name.lower()


class FieldLines:
    """Lines of a request or a response. Names are compared in lower case; a line keeps the spelling it was given.

    PERF: a name is searched for in the head when somebody asks for it; taking all lines apart cost more than the rest of key-auth
    (bench/parts/test_plugins.py).
    """

    __slots__ = ("_added", "_dropped", "_fixed", "_head", "_known", "host")

    def __init__(self, head: bytes, fixed: Collection[bytes]) -> None:
        """`head`: what is read, a whole validated head with its start line. `fixed`: names whose lines are not written."""
        self._head = head
        self._fixed = fixed
        self._known: dict[bytes, list[bytes]] = {}  # what was asked for or edited
        self._added: list[tuple[bytes, bytes]] = []
        self._dropped: set[bytes] = set()
        self.host: bytes | None = None  # set by a plugin

    def first(self, name: bytes) -> bytes | None:
        """The first line's value of a field (lower-case name), or None."""
        found = self.all(name)
        return found[0] if found else None

    def all(self, name: bytes) -> list[bytes]:
        """Every line's value of a field (lower-case name)."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = find_values(self._head, name)
        return found

    def __contains__(self, name: bytes) -> bool:
        return bool(self.all(name))

    def __iter__(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Lower-case names with their values."""
        every = Fields(self._head, _ALL_LINES).as_mapping() | self._known
        return ((name, values) for name, values in every.items() if values)

    def set(self, name: bytes, value: bytes) -> None:
        """Exactly one line of that name. Raises ValueError for a name that is none."""
        lower = _lower_token(name)
        if self.all(lower):
            self.remove(lower)
        self._append(name, lower, value)

    def add(self, name: bytes, value: bytes) -> None:
        """One more line of that name. Raises ValueError for a name that is none."""
        lower = _lower_token(name)
        self.all(lower)
        self._append(name, lower, value)

    def _append(self, name: bytes, lower: bytes, value: bytes) -> None:
        value = value.translate(_UNSAFE).strip(b" \t")
        self._known[lower].append(value)
        if lower == b"host":
            self.host = value
        elif lower not in self._fixed:
            self._added.append((lower, join((name, b": ", value, b"\r\n"))))

    def remove(self, name: bytes) -> None:
        """No line of that name (lower case)."""
        if not self.all(name):
            return
        self._known[name] = []
        self._dropped.add(name)
        if self._added:
            self._added = [line for line in self._added if line[0] != name]

    @property
    def edited(self) -> bool:
        """Whether `render` gives anything else than it is given."""
        return bool(self._added or self._dropped)

    @property
    def takes_out(self) -> bool:
        """Whether lines that came are taken out."""
        return bool(self._dropped)

    def render(self, kept: bytes) -> bytes:
        """The lines `kept`, each with its CRLF, with all edits."""
        if self._dropped:
            dropped = self._dropped
            kept = b"".join(
                [line for line in kept.splitlines(keepends=True) if line.partition(b":")[0].lower() not in dropped]
            )
        return kept + b"".join([line for _, line in self._added]) if self._added else kept


def arguments(query: bytes) -> list[tuple[bytes, bytes | None]]:
    """The decoded arguments of a query (or of a form body) in order; None is the value of one without "="."""
    found: list[tuple[bytes, bytes | None]] = []
    for part in query.split(b"&", ARGUMENTS_MAX)[:ARGUMENTS_MAX]:
        name, equals, value = part.partition(b"=")
        if name:
            found.append((decode(name), decode(value) if equals else None))
    return found


def without_argument(query: bytes, name: bytes) -> bytes:
    """The query without the arguments of that name; the others stay as they came."""
    return b"&".join([part for part in query.split(b"&") if decode(part.partition(b"=")[0]) != name])


def decode(text: bytes) -> bytes:
    """A name or value of a query as it is meant."""
    # PERF: `in` takes bytes for a number first: two of them are a microsecond
    if text.find(b"%") < 0 and text.find(b"+") < 0:
        return text
    return unquote_to_bytes(text.replace(b"+", b" "))
