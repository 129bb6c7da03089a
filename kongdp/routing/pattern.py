"""A route's paths and hosts parsed: literal prefix, regex, wildcard host, split port.

In: the strings of the configuration.  Out: values the index and the candidates are made of, or PatternError with the
reason. Regexes run in google-re2: linear time whatever the pattern, so a route can never hold a worker. It refuses
look-around and back-references, as the Rust engine of Kong's newer flavors does. Known differences: `\\d`, `\\w`,
`\\s` and `\\b` mean ASCII here and Unicode in Rust; the traditional flavor's PCRE extras (look-around,
back-references, possessive quantifiers) are refused. `literal_prefix` finds the bytes every match must begin with;
the index files a regex under them.
Hot: the three functions of Regex. Cold: all else. Source: Kong 3.9 transform.lua, traditional.lua; RE2 syntax.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import re2

REGEX_MARK = "~"
HEADER_REGEX_MARK = "~*"

_UNANCHORED = re2._re2.RE2.Anchor.UNANCHORED
_ANCHORED = re2._re2.RE2.Anchor.ANCHOR_START
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_BYTE_OPTIONS = re2.Options()
_BYTE_OPTIONS.log_errors = False
_BYTE_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_POSTFIX_GROUP = "kongdp_uri_postfix"

Span = tuple[int, int]
_NO_SPAN: Span = (-1, -1)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a"}
_QUANTIFIERS = frozenset("*?{")
_META = frozenset(".[(^$+)")


class PatternError(ValueError):
    """A path, host or header pattern that cannot be compiled; the text is the reason."""


class Compiled(Protocol):
    """The part of RE2's own object that is used (the package's wrapper costs twice as much a call)."""

    def Match(self, anchor: object, text: bytes, start: int, end: int) -> list[Span]: ...

    def NamedCapturingGroups(self) -> list[tuple[bytes, int]]: ...


class Groups:
    """Captures worked out when somebody asks; most requests never do (PERF: a quarter off a match by regex)."""

    __slots__ = ("_names", "_spans", "_text")

    def __init__(self, text: bytes, spans: list[Span], names: Mapping[str, int]) -> None:
        self._text = text
        self._spans = spans
        self._names = names

    @property
    def positional(self) -> tuple[bytes | None, ...]:
        return tuple(None if span == _NO_SPAN else self._text[span[0] : span[1]] for span in self._spans)

    @property
    def named(self) -> Mapping[str, bytes]:
        groups = self.positional
        return {name: group for name, at in self._names.items() if (group := groups[at]) is not None}


class Regex:
    """A compiled regex; `search` looks anywhere, `consume` answers what a path pattern consumed.

    `as_pcre` reads the pattern as the traditional flavor does: bytes instead of UTF-8. `path` adds what that flavor
    adds to a path: it is anchored, all its alternatives are, and what it consumed is what stands before the rest of
    the line.
    """

    __slots__ = ("_anchor", "_compiled", "_names", "_trailing")

    def __init__(self, pattern: str, *, as_pcre: bool = False, path: bool = False) -> None:
        text = translate(pattern)
        if path:
            text = f"{text}(?P<{_POSTFIX_GROUP}>.*)"
        self._compiled: Compiled = _compile(text, _BYTE_OPTIONS if as_pcre else _OPTIONS)
        self._anchor = _ANCHORED if path else _UNANCHORED
        self._trailing = path
        names = {name.decode(): at for name, at in self._compiled.NamedCapturingGroups()}
        names.pop(_POSTFIX_GROUP, None)
        self._names = names

    def search(self, text: bytes) -> bool:
        """Whether the pattern matches anywhere in the text (at its beginning when anchored)."""
        return self._compiled.Match(self._anchor, text, 0, len(text))[0] != _NO_SPAN

    def consume(self, path: bytes) -> tuple[bytes, Groups | None] | None:
        """The text consumed and the captures (None when the pattern has no group), or None without a match."""
        spans = self._compiled.Match(self._anchor, path, 0, len(path))
        if spans[0] == _NO_SPAN:
            return None
        if self._trailing:
            return self._consume_trailing(path, spans)
        start, end = spans[0]
        prefix = path[start:end]
        return prefix, Groups(path, spans, self._names) if len(spans) > 1 else None

    def _consume_trailing(self, path: bytes, spans: list[Span]) -> tuple[bytes, Groups | None]:
        """The traditional flavor's reading: what stands before the group that takes the rest of the line."""
        start, end = spans.pop()
        prefix = path[: len(path) - (end - start)] if start >= 0 else b""
        return prefix, Groups(path, spans, self._names) if len(spans) > 1 else None


def translate(pattern: str) -> str:
    """Kong's named groups `(?<name>` in RE2's older spelling; look-behind is left for RE2 to refuse."""
    if "(?<" not in pattern:
        return pattern
    out: list[str] = []
    escaped = False
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if not escaped and pattern.startswith("(?<", at) and pattern[at + 3 : at + 4] not in ("=", "!"):
            out.append("(?P<")
            at += 3
            continue
        escaped = char == "\\" and not escaped
        out.append(char)
        at += 1
    return "".join(out)


def _compile(pattern: str, options: object) -> Compiled:
    try:
        text = pattern.encode()
    except UnicodeEncodeError as error:
        raise PatternError(f"regex {pattern!r} is not valid Unicode") from error
    compiled = re2._re2.RE2(text, options)
    if not compiled.ok():
        reason = compiled.error()
        raise PatternError(f"regex {pattern!r} does not compile: {reason.decode(errors='replace')}")
    result: Compiled = compiled
    return result


def literal_prefix(pattern: str) -> bytes:
    """The bytes every match of `^pattern` begins with; empty when alternatives or flags make that unknowable.

    Always on the safe side: a shorter prefix than possible costs time, a longer one would lose matches.
    """
    if _has_alternatives(pattern):
        return b""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        width = 1
        if char == "\\":
            literal = _unescape(pattern[at + 1 : at + 2])
            if literal is None:
                break
            char, width = literal, 2
        elif char in _META:
            break
        elif char in _QUANTIFIERS:
            if out:
                out.pop()
            break
        out.append(char)
        at += width
    return "".join(out).encode(errors="ignore")


def _unescape(char: str) -> str | None:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char and not char.isalnum() and char.isascii():
        return char
    return None


def _has_alternatives(pattern: str) -> bool:
    """Whether `|` stands outside every group, class and escape (then `^` binds to the first branch only)."""
    if "|" not in pattern:
        return False
    if "\\Q" in pattern:
        return True
    depth = 0
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "[":
            at = _class_end(pattern, at)
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "|" and depth <= 0:
            return True
        at += 1
    return False


def _class_end(pattern: str, start: int) -> int:
    """Index of the `]` that closes the class opened at `start`; a `]` that comes first stands for itself."""
    at = start + 1
    if pattern[at : at + 1] == "^":
        at += 1
    if pattern[at : at + 1] == "]":
        at += 1
    while at < len(pattern) and pattern[at] != "]":
        if pattern[at] == "\\":
            at += 1
        elif pattern.startswith("[:", at):
            closing = pattern.find(":]", at)
            at = closing + 1 if closing >= 0 else at
        at += 1
    return at


class HostPattern(NamedTuple):
    """A configured host: `kind` says how `text` is compared; `port` is None when none was written."""

    kind: str
    text: bytes
    port: int | None


EXACT = "exact"
SUFFIX = "suffix"
PREFIX = "prefix"


def parse_host(host: str) -> HostPattern:
    """`a.test`, `*.a.test` (suffix `.a.test`) and `a.*` (prefix `a.`), each perhaps with a port.

    Raises PatternError for a wildcard that is neither the whole first label nor the whole last one.
    """
    name, port = split_host_port(host.encode())
    if b"*" not in name:
        return HostPattern(EXACT, name, port)
    if name.startswith(b"*.") and b"*" not in name[1:]:
        return HostPattern(SUFFIX, name[1:], port)
    if name.endswith(b".*") and b"*" not in name[:-1]:
        return HostPattern(PREFIX, name[:-1], port)
    raise PatternError(f"host {host!r}: a wildcard must be the whole leftmost or rightmost label")


def split_host_port(host: bytes) -> tuple[bytes, int | None]:
    """Cut a host at its first colon when digits follow; anything else (an IPv6 literal) stays whole."""
    name, colon, port = host.partition(b":")
    if colon and port.isdigit():
        return name, int(port)
    return host, None
