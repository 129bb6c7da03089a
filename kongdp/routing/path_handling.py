"""What the upstream is asked for: matched prefix, remainder and service path put together.

In: the service path, the normalised request path and how much of it the route consumed.  Out: the upstream path (not
yet escaped; see http1.target) and the value of X-Forwarded-Prefix.
Two tables. `v0` is Kong's default: the remainder is joined to the service path with exactly one slash. `v1`, obeyed
by the traditional flavor only, concatenates. `compile_upstream_path` picks the right function for a route once, when
the configuration changes; a request then pays one call.
Hot: the functions it returns. Cold: the choice. Source: Kong 3.9 kong/router/utils.lua get_upstream_uri_v0,
traditional.lua (v1).
"""

from collections.abc import Callable

UpstreamPath = Callable[[bytes, int], bytes]
"""(normalised request path, bytes of it that the route's prefix consumed; 0 when no path matched) -> upstream path."""


def compile_upstream_path(service_path: bytes, strip_path: bool, path_handling: str, flavor: str) -> UpstreamPath:
    """The function that builds this route's upstream paths. `service_path` is the service's `path`, or "/" when it
    has none.
    """
    base = service_path or b"/"
    if path_handling == "v1" and flavor == "traditional":
        return _compile_v1(base, strip_path)
    if strip_path:
        return _compile_strip_slash(base) if base.endswith(b"/") else _compile_strip(base)
    return _compile_keep(base)


def upstream_path(
    service_path: bytes, strip_path: bool, path_handling: str, flavor: str, path: bytes, prefix_length: int
) -> bytes:
    """The upstream path of one request, for callers that have no compiled function at hand (the route tester)."""
    return compile_upstream_path(service_path, strip_path, path_handling, flavor)(path, prefix_length)


def forwarded_prefix(strip_path: bool, prefix: bytes) -> bytes | None:
    """The value of X-Forwarded-Prefix, or None when the field is absent: nothing was stripped, or only "/".

    Kong sends the matched bytes as they are, not escaped (vectors router-101: a prefix of `/über` arrives as UTF-8).
    """
    return prefix if strip_path and prefix and prefix != b"/" else None


def remainder(path: bytes, prefix_length: int) -> bytes:
    """The path behind the matched prefix; one dot segment that the cut uncovered is dropped. Without a match: the
    path less its slash.

    Cutting `/route` off `/route../x` would otherwise leave `../x` to climb out of the service path.
    """
    rest = path[prefix_length or 1 :]
    if not rest.startswith(b"."):
        return rest
    if rest in (b".", b".."):
        return b""
    if rest.startswith(b"./"):
        return rest[2:]
    if rest.startswith(b"../"):
        return rest[3:]
    return rest


def _compile_strip_slash(base: bytes) -> UpstreamPath:
    trimmed = base[:-1]

    def strip(path: bytes, prefix_length: int) -> bytes:
        rest = remainder(path, prefix_length)
        if not rest:
            return base if base == b"/" or path.endswith(b"/") else trimmed
        if rest.startswith(b"/"):
            return trimmed + rest
        return base + rest

    return strip


def _compile_strip(base: bytes) -> UpstreamPath:
    with_slash = base + b"/"

    def strip(path: bytes, prefix_length: int) -> bytes:
        rest = remainder(path, prefix_length)
        if not rest:
            return with_slash if len(path) > 1 and path.endswith(b"/") else base
        if rest.startswith(b"/"):
            return base + rest
        return with_slash + rest

    return strip


def _compile_keep(base: bytes) -> UpstreamPath:
    if base == b"/":
        return lambda path, _: path
    if base.endswith(b"/"):
        return lambda path, _: base + path[1:]
    return lambda path, _: base if path == b"/" else base + path


def _compile_v1(base: bytes, strip_path: bool) -> UpstreamPath:
    if not strip_path:
        return lambda path, _: base + path[1:]
    trimmed = base.removesuffix(b"/")

    def strip(path: bytes, prefix_length: int) -> bytes:
        rest = remainder(path, prefix_length)
        return (trimmed if rest.startswith(b"/") else base) + rest

    return strip
