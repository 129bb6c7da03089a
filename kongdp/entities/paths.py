"""Paths of services and routes: what may be configured, and how old files wrote it.

In: a path of a configuration.  Out: the reason for refusing it, or its form in format 3.0. Normalisation here is that
of configured paths; the request path has its own, byte-wise twin in http1.target, which may not be used from this room.
Both follow the same table (router specification, section 2).
Source: kong/db/schema/typedefs.lua, kong/tools/uri.lua, kong/db/migrations/migrate_path_280_300.lua (3.9).
"""

import re

from kongdp.entities.regex import regex_problem

_SERVICE_PATH = re.compile(r"/[A-Za-z0-9.\-_~/%:@!$&'()*+,;=]*\Z")
_TRIPLET = re.compile(r"%[0-9A-Fa-f]{2}")
_BAD_PERCENT = re.compile(r"%.?.?", re.DOTALL)
_PLAIN_OLD_PATH = re.compile(r"[A-Za-z0-9.\-_~/%]*\Z")
_RESERVED = frozenset(b"!*'();:@&=+$,/?%#[]")
_REGEX_META = frozenset(".^$*+-?()[]{}\\|")


def service_path_problem(path: str) -> str | None:
    """Why `service.path` is refused, or None. It starts with "/" (tested before)."""
    if _SERVICE_PATH.match(path) is None:
        return f"invalid path: '{path}' (characters outside of the reserved list of RFC 3986 found)"
    return percent_problem(path)


def percent_problem(path: str) -> str | None:
    """Why the percent-encoding of a path is wrong, or None."""
    if "%" not in path:
        return None
    rest = _TRIPLET.sub("___", path)
    found = _BAD_PERCENT.search(rest)
    return f"invalid url-encoded value: '{found[0]}'" if found else None


def route_path_problem(path: str) -> str | None:
    """Why one of `route.paths` is refused, or None: a prefix must be in normal form, a regex must compile."""
    if path.startswith("~"):
        # Kong looks at the percent signs of a regex only when its characters are all allowed in a path; "~" never is,
        # so never.
        problem = regex_problem(path[1:])
        return f"invalid regex: '{path[1:]}' (PCRE returned: {problem})" if problem else None
    if "%" in path and _SERVICE_PATH.match(path) is not None:
        problem = percent_problem(path)
        if problem:
            return problem
    normal = normalize(path)
    if normal == path:
        return None
    shown = normal.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return f"non-normalized path, consider use '{shown}' instead"


def normalize(path: str) -> str:
    """The normal form of a prefix: percent-decoded once except reserved bytes, dot segments removed, slashes merged."""
    if path in ("", "/"):
        return path
    if "%" in path:
        path = _decode_unreserved(path)
    if "/." in path:
        path = _remove_dot_segments(path)
    while "//" in path:
        path = path.replace("//", "/")
    return path


def _decode_unreserved(path: str) -> str:
    def decode(found: re.Match[bytes]) -> bytes:
        byte = int(found[0][1:], 16)
        return found[0].upper() if byte in _RESERVED else bytes((byte,))

    return re.sub(rb"%[0-9A-Fa-f]{2}", decode, path.encode("utf-8", "surrogateescape")).decode(
        "utf-8", "surrogateescape"
    )


def _remove_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4, for an absolute path."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        if segment == "..":
            if kept:
                kept.pop()
            if last:
                kept.append("")
        elif segment == ".":
            if last:
                kept.append("")
        else:
            kept.append(segment)
    return "/" + "/".join(kept)


def migrate_path(path: str) -> str:
    """A route path of format 1.1 or 2.1 in the form that format 3.0 gives it.

    One made of unreserved characters only is a prefix and is normalised. Any other was a regex: it gets the mark "~",
    and its percent triplets are decoded, those of reserved characters excepted, what they decode to escaped where it
    means something in a regex.
    """
    if not path.startswith("/"):
        return path
    if _PLAIN_OLD_PATH.match(path) is not None:
        return normalize(path)
    return "~" + _migrate_triplets(path)


def _migrate_triplets(pattern: str) -> str:
    def decode(found: re.Match[bytes]) -> bytes:
        byte = int(found[0][1:], 16)
        if byte in _RESERVED:
            return found[0].upper()
        char = bytes((byte,))
        return b"\\" + char if byte < 0x80 and chr(byte) in _REGEX_META else char

    return re.sub(rb"%[0-9A-Fa-f]{2}", decode, pattern.encode("utf-8", "surrogateescape")).decode(
        "utf-8", "surrogateescape"
    )
