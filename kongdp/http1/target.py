"""Request targets: their four forms, the normal form of a path used for matching, and escaping on the way out.

In: the request-target as it stood on the wire.  Out: path, query and authority as bytes, or None for a target nobody
can serve.
House rule: bytes in, bytes out; nothing here knows a route. Whoever forwards a request sends `escape(path) + query`,
where path is what routing made of `normalize(path)` and query is kept byte for byte, a bare "?" included.
Hot: `split`, `try_normalize` and `escape` run for every request and leave at once when there is nothing to
do. The rest is cold. Source: RFC 9112 section 3.2 (forms); Kong kong/tools/uri.lua (normal form, slashes merged
before dots are removed); nginx ngx_http_parse_complex_uri (what is refused before Kong sees it).
"""

import re
from enum import Enum
from typing import NamedTuple

_RESERVED = frozenset(b"!*'();:@&=+$,/?%#[]")
_UNESCAPED = rb"!#$&'()*+,/:;=?@\[\]A-Za-z0-9\-._~%"

# What sends a path down the slow way: an escape, a run of slashes, or a segment that begins with a dot.
_find_unusual = re.compile(rb"%|//|/\.").search
_find_escape = re.compile(rb"%([0-9A-Fa-f]{2})")
_find_broken_escape = re.compile(rb"%(?![0-9A-Fa-f]{2})|%00").search
_find_slashes = re.compile(rb"//+")
_replace_unsafe = re.compile(rb"[^" + _UNESCAPED + rb"]").sub
_find_scheme = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://").match
_AUTHORITY = re.compile(
    rb"(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
)  # nginx takes less of one than of a Host field

_DECODED = {
    b"%02X" % byte: (b"%%%02X" % byte if byte in _RESERVED else bytes((byte,))) for byte in range(256)
}  # upper-case hex digits -> what stands in the normal form
_DECODED_FULLY = {b"%02X" % byte: bytes((byte,)) for byte in range(256)}
_SAFE = bytes(byte for byte in range(256) if re.match(rb"[" + _UNESCAPED + rb"]", bytes((byte,))))
_ESCAPED = {bytes((byte,)): b"%%%02X" % byte for byte in range(256)}


class Form(Enum):
    """The four forms of RFC 9112 section 3.2."""

    ORIGIN = "origin"
    ABSOLUTE = "absolute"
    ASTERISK = "asterisk"
    AUTHORITY = "authority"


class Target(NamedTuple):
    """A request-target in its parts. `query` begins with "?" or is empty; `authority` is empty but for absolute and
    authority form.
    """

    form: Form
    path: bytes
    query: bytes
    authority: bytes


def split(target: bytes) -> tuple[bytes, bytes]:
    """Cut an origin-form target into path and query; the query keeps its "?" (a bare one too) and is empty when there
    is none.

    The search begins at the second byte, as Kong's does. A "#" ends the query, as it does for nginx (whose path does not
    end there).
    """
    cut = target.find(b"?", 1)
    if cut < 0:
        return target, b""
    if b"#" in target:
        return target[:cut], _query_before_fragment(target, cut)
    return target[:cut], target[cut:]


def _query_before_fragment(target: bytes, cut: int) -> bytes:
    end = target.find(b"#")
    if end > cut + 1:
        return target[cut:end]
    return b"?" if target.endswith(b"?") else b""  # Kong puts back a bare one that ends the target


def parse(target: bytes, method: bytes = b"GET") -> Target | None:
    """Recognise any form of target; None when it is none of them (the caller answers 400).

    Only CONNECT takes the authority form, beside the others, and only OPTIONS the asterisk. An absolute target without a path has the
    path "/".
    """
    if target.startswith(b"/"):
        return Target(Form.ORIGIN, *split(target), b"")
    if method == b"CONNECT" and _is_authority(target):
        return Target(Form.AUTHORITY, b"", b"", target)
    if target == b"*":
        return Target(Form.ASTERISK, b"*", b"", b"") if method == b"OPTIONS" else None
    scheme = _find_scheme(target)
    return _parse_absolute(target, scheme.end()) if scheme else None


def _parse_absolute(target: bytes, start: int) -> Target | None:
    end = min((at for at in (target.find(mark, start) for mark in (b"/", b"?")) if at >= 0), default=len(target))
    authority = target[start:end]
    if not _AUTHORITY.fullmatch(authority):
        return None
    rest = target[end:]
    path, query = split(rest if rest.startswith(b"/") else b"/" + rest)
    return Target(Form.ABSOLUTE, path, query, authority)


def _is_authority(target: bytes) -> bool:
    host, colon, port = target.rpartition(b":")
    return bool(host) and b"/" not in host and colon == b":" and port.isdigit()


def is_refused(path: bytes) -> bool:
    """Whether nginx answers 400 for this path before Kong's router sees it.

    Refused are a broken escape, an escaped NUL, and dot segments that climb above the root once every escape is
    decoded (so that `%2e` is a dot and `%2F` a slash here, unlike in `normalize`).
    """
    if _find_unusual(path) is None:
        return False
    path = path.partition(b"#")[0]
    if b"%" in path:
        if _find_broken_escape(path) is not None:
            return True
        path = _find_escape.sub(lambda found: _DECODED_FULLY[found[1].upper()], path)
    depth = 0
    for segment in path.split(b"/"):
        if segment == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif segment not in (b"", b"."):
            depth += 1
    return False


def try_normalize(path: bytes) -> bytes | None:
    """The normal form, or None for a path that is refused; one look at a path that needs neither question answered."""
    if _find_unusual(path) is None:
        return path
    return None if is_refused(path) else normalize(path)


def normalize(path: bytes) -> bytes:
    """The form of a path (one that begins with a slash) that routes are matched against and upstream paths are built
    from.

    Escapes are decoded once unless they stand for a reserved character (those keep upper-case hex), runs of slashes
    become one, dot segments are removed and never climb above the root; a trailing slash stays. Letter case is kept.
    The result of a path without escapes, double slashes and leading dots is the path itself.
    """
    if _find_unusual(path) is None:
        return path
    if b"%" in path:
        path = _find_escape.sub(_decode, path)
    if b"//" in path:
        path = _find_slashes.sub(b"/", path)
    if b"/." in path:
        path = _remove_dot_segments(path)
    return path


def _decode(found: re.Match[bytes]) -> bytes:
    return _DECODED[found[1].upper()]


def _remove_dot_segments(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4 for a path that begins with a slash and has no empty segment but perhaps its last."""
    kept: list[bytes] = []
    segments = path[1:].split(b"/")
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def escape(path: bytes) -> bytes:
    """Percent-encode every byte that may not stand in a request line; "%" and all reserved characters stay as they
    are.
    """
    if not path.translate(None, _SAFE):
        return path
    return _replace_unsafe(lambda found: _ESCAPED[found[0]], path)
