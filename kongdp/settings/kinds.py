"""The kinds of value a setting can have: text of the operator -> typed value, and back from JSON.

In: a setting's name and its text (trimmed, never empty).  Out: the value, or Invalid whose message names the setting.
House rule: a kind knows one value. What several settings must agree on is in rules.py. Only the kinds of pem.py and
`text_or_file` read files; nothing here changes anything.
Cold. Source of the rules and messages: Kong 3.9 conf_loader; sizes and times are nginx's.
"""

import ipaddress
import math
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
U = TypeVar("U")


class Invalid(Exception):
    """A value that cannot be taken; the message is whole and names the setting."""


class _NoUnset:
    """Marks a kind for which an empty text means "as if it had not been given"."""


NO_UNSET = _NoUnset()


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How one kind of setting is read (`parse(name, text)`), documented (`word`) and rebuilt from JSON (`revive`)."""

    word: str
    parse: Callable[[str, str], T]
    revive: Callable[[Any], T]
    unset: T | _NoUnset = field(default=NO_UNSET)


class Buffers(NamedTuple):
    """nginx's "number size": `number` buffers of `size` bytes."""

    number: int
    size: int


def _same(value: Any) -> Any:
    return value


def _simple(word: str, parse: Callable[[str, str], T]) -> Kind[T]:
    return Kind(word, parse, _same)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same kind, where an empty text means None."""
    return Kind(kind.word, kind.parse, lambda value: None if value is None else kind.revive(value), None)


def words(*allowed: str) -> Kind[str]:
    """One of some words."""

    def parse(name: str, text: str) -> str:
        if text not in allowed:
            raise Invalid(f"{name} has an invalid value: '{text}' ({', '.join(allowed)})")
        return text

    return _simple(" | ".join(allowed), parse)


def listed(
    word: str, check: Callable[[str, str], U], *, separator: str | None = ",", default_unset: bool = False
) -> Kind[tuple[U, ...]]:
    """Several values, comma-separated unless told (None: by spaces); each goes through `check(name, item)`."""

    def parse(name: str, text: str) -> tuple[U, ...]:
        return tuple([check(name, item) for item in (part.strip() for part in text.split(separator)) if item])

    unset: tuple[U, ...] | _NoUnset = NO_UNSET if default_unset else ()
    return Kind(word, parse, tuple, unset)


def number(low: float, high: float = math.inf, *, word: str = "number") -> Kind[float]:
    """A number with optional fraction inside [low, high]."""

    def parse(name: str, text: str) -> float:
        return _within(name, text, _float(name, text), low, high)

    return _simple(word, parse)


def whole(low: int, high: float = math.inf) -> Kind[int]:
    """A whole number inside [low, high]."""

    def parse(name: str, text: str) -> int:
        value = _float(name, text)
        if value != int(value):
            raise Invalid(f"{name} must be a whole number, got '{text}'")
        return int(_within(name, text, value, low, high))

    return _simple("whole number", parse)


def auto_or_whole(low: int) -> Kind[int | None]:
    """A whole number, or `auto` for None."""
    inner = whole(low)

    def parse(name: str, text: str) -> int | None:
        return None if text == "auto" else inner.parse(name, text)

    return _simple("auto | whole number", parse)


def _cores(name: str, text: str) -> str:
    if text in ("off", "auto"):
        return text
    numbers = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in numbers):
        raise Invalid(f"{name} must be off, auto, or numbers of cores separated by commas, got '{text}'")
    return ",".join(str(int(part)) for part in numbers)


CORES = _simple("off | auto | numbers of cores", _cores)
"""Which cores processes are bound to, one core each in turn."""


def _float(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Invalid(f"{name} is not a number: '{text}'")
    return value


def _within(name: str, text: str, value: float, low: float, high: float) -> float:
    if low <= value <= high:
        return value
    bounds = f"{low:g} or greater" if high == math.inf else f"between {low:g} and {high:g}"
    raise Invalid(f"{name} must be {bounds}, got '{text}'")


def _boolean(_name: str, text: str) -> bool:
    return text in ("on", "true")


def _text(_name: str, value: str) -> str:
    return value


def _absolute(_name: str, value: str) -> str:
    return str(Path(value).expanduser().absolute())


_SIZE = re.compile(r"([0-9]+)([kKmMgG]?)")
_SIZE_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdwMy]?)")
_TIMES = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|[smhdwMy]) *)*(?:[0-9]+(?:\.[0-9]+)?)?")
_TIME_FACTORS = {
    "ms": 0.001,
    "": 1.0,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "M": 2592000.0,
    "y": 31536000.0,
}


def _size(name: str, text: str) -> int:
    matched = _SIZE.fullmatch(text)
    if matched is None:
        raise Invalid(f"{name} must be a size such as 512, 8k, 10m or 1g, got '{text}'")
    return int(matched[1]) * _SIZE_FACTORS[matched[2].lower()]


def sized(low: int, high: int) -> Kind[int]:
    """A size inside [low, high] bytes."""

    def parse(name: str, text: str) -> int:
        return int(_within(name, text, _size(name, text), low, high))

    return _simple("size", parse)


def _time(name: str, text: str) -> float:
    """nginx allows several parts, as in `1h 30m` or `1h30m`; keepalive_timeout's second value (the advertised one) would read as
    such a sum, therefore that setting has its own kind.
    """
    if not text or _TIMES.fullmatch(text) is None:
        raise Invalid(f"{name} must be a time such as 500ms, 60s, 5m or 1d, got '{text}'")
    return sum(float(number) * _TIME_FACTORS[unit] for number, unit in _TIME.findall(text))


def _first_time(name: str, text: str) -> float:
    return _time(name, text.split()[0])


def _buffers(name: str, text: str) -> Buffers:
    parts = text.split()
    if len(parts) != 2 or not parts[0].isdecimal() or int(parts[0]) < 1:
        raise Invalid(f"{name} must be a number and a size such as '4 8k', got '{text}'")
    return Buffers(int(parts[0]), _size(name, parts[1]))


def _identity(name: str, text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Invalid(f"{name} must be a valid UUID, got '{text}'") from None


def _trusted(name: str, item: str) -> str:
    if item == "unix:":
        return item
    try:
        ipaddress.ip_network(item, strict=False)
    except ValueError:
        raise Invalid(
            f"{name} must be a comma separated list in the form of IPv4 or IPv6 address or CIDR block or 'unix:', "
            f"got '{item}'"
        ) from None
    return item


def _resolver(name: str, item: str) -> tuple[str, int]:
    host, port = split_address(item, 53)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        port = None
    if port is None:
        raise Invalid(f"{name} must be a comma separated list in the form of IPv4/6 or IPv4/6:port, got '{item}'")
    return host, port


def split_address(text: str, default_port: int | None = None) -> tuple[str, int | None]:
    """(host without brackets, port or None when it is neither given by text nor default nor valid); bare IPv6 has no
    port.
    """
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port_text = rest[1:] if rest.startswith(":") else rest
    elif text.count(":") > 1:
        host, port_text = text, ""
    else:
        host, _, port_text = text.partition(":")
    if not port_text:
        return host, None if text.endswith(":") else default_port
    if not port_text.isdecimal() or not 0 < int(port_text) < 65536:
        return host, None
    return host, int(port_text)


def _host_port(name: str, text: str) -> str:
    host, port = split_address(text)
    if not host or port is None or "/" in text:
        raise Invalid(f"{name} must be of form host:port, got '{text}'")
    return text


def _port_map(name: str, item: str) -> tuple[int, int]:
    left, colon, right = item.partition(":")
    ports = [int(part) if part.isdecimal() else 0 for part in (left, right)]
    if not colon or not all(0 < port < 65536 for port in ports):
        raise Invalid(f"invalid port mapping (`{name}`): {item}")
    return ports[0], ports[1]


def _label(name: str, item: str) -> tuple[str, str]:
    key, _, value = item.partition(":")
    for what, part in (("key", key), ("value", value)):
        if not 1 <= len(part) <= 63:
            raise Invalid(f"{name}: label {what} validation failed: '{part}' must have between 1 and 63 characters")
        if not _LABEL.fullmatch(part):
            raise Invalid(
                f"{name}: label {what} validation failed: '{part}' must begin and end with a letter or digit and hold "
                "only letters, digits, '_', '.', ':' and '-'"
            )
    if key.startswith(_LABEL_KEYS_RESERVED):
        reserved = ", ".join(_LABEL_KEYS_RESERVED)
        raise Invalid(f"{name}: label key validation failed: '{key}' begins with a reserved word ({reserved})")
    return key, value


_LABEL = re.compile(r"[A-Za-z0-9](?:[\w.:-]*[A-Za-z0-9])?", re.ASCII)
_LABEL_KEYS_RESERVED = ("kong", "konnect", "insomnia", "mesh", "kic")


def _fingerprint(name: str, text: str) -> str:
    digits = text.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise Invalid(f"{name} must be a SHA-256 fingerprint of 64 hexadecimal digits, got '{text}'")
    return digits


def _web_address(name: str, item: str) -> str:
    try:
        place = urlsplit(item)
        is_sound = place.scheme in ("http", "https") and bool(place.hostname) and (place.port or 1) > 0
    except ValueError:
        is_sound = False
    if not is_sound:
        raise Invalid(f"{name} must hold addresses such as https://manager.example:8445, got '{item}'")
    return item


def _template(name: str, text: str) -> str:
    try:
        if Path(text).is_file():
            text = Path(text).read_text()
    except (OSError, ValueError) as error:
        raise Invalid(f"{name}: cannot read {text}: {error}") from None
    if text.count("%s") != 2:
        raise Invalid(f"{name} must hold two %s (message and request id), found {text.count('%s')}")
    return text


def _existing_file(name: str, text: str) -> str:
    if not Path(text).is_file():
        raise Invalid(f"{name}: file does not exist")
    return text


def one_of(allowed: Sequence[str], word: str) -> Kind[tuple[str, ...]]:
    """A comma-separated list of known words; an unknown one gives "<name>: invalid entry '<x>'"."""
    known = {entry.lower(): entry for entry in allowed}

    def check(name: str, item: str) -> str:
        if item.lower() not in known:
            raise Invalid(f"{name}: invalid entry '{item}'")
        return known[item.lower()]

    return listed(word, check)


def spaced_words(*allowed: str) -> Kind[tuple[str, ...]]:
    """Known words separated by spaces, as nginx writes them."""

    def check(name: str, item: str) -> str:
        if item not in allowed:
            raise Invalid(f"{name} has an invalid value: '{item}' ({', '.join(allowed)})")
        return item

    return listed("words separated by spaces", check, separator=None, default_unset=True)


def _pairs(raw: Any) -> tuple[Any, ...]:
    return tuple(tuple(pair) for pair in raw)


TEXT: Kind[str] = _simple("text", _text)
MAYBE_TEXT: Kind[str | None] = optional(TEXT)
DIRECTORY: Kind[str] = _simple("path", _absolute)
TEXTS: Kind[tuple[str, ...]] = listed("list", _text)
BOOLEAN: Kind[bool] = _simple("on | off", _boolean)
SIZE: Kind[int] = _simple("size", _size)
TIME: Kind[float] = _simple("time", _time)
FIRST_TIME: Kind[float] = _simple("time", _first_time)
BUFFERS: Kind[Buffers] = Kind("number size", _buffers, lambda raw: Buffers(*raw))
UUID: Kind[str] = _simple("UUID", _identity)
TRUSTED: Kind[tuple[str, ...]] = listed("list of addresses, CIDR blocks or unix:", _trusted)
RESOLVERS: Kind[tuple[tuple[str, int], ...]] = Kind(
    "list of address[:port]", listed("", _resolver).parse, _pairs, ()
)  # pairs (address, port)
HOST_PORT: Kind[str] = _simple("host:port", _host_port)
PORT_MAPS: Kind[tuple[tuple[int, int], ...]] = Kind(
    "list of external:internal", listed("", _port_map).parse, _pairs, ()
)
LABELS: Kind[tuple[tuple[str, str], ...]] = Kind("list of key:value", listed("", _label).parse, _pairs, ())
URLS: Kind[tuple[str, ...]] = listed("list of URLs", _web_address)
FINGERPRINT: Kind[str] = _simple("SHA-256 in hexadecimal", _fingerprint)
TEMPLATE: Kind[str] = _simple("path or text", _template)
EXISTING_FILE: Kind[str] = _simple("path", _existing_file)
