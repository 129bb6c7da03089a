"""Declarative files as text: JSON or YAML in, plain values out.

In: text from a file or a request.  Out: an object of dicts, lists, strings, numbers, booleans and None, or
DeclarativeError that names the line.
House rule: nothing a file can say makes this costly beyond its own length. Aliases are resolved as YAML wants it, but a
document that they blow up beyond NODES_MAX is refused before it is built; so are tags, and nesting beyond what the
parsers bear. Dates and keys stay text: the schemas know no other keys, and a name like 2024-01-01 is a name.
Cold. YAML of 10,000 services takes seconds; JSON takes milliseconds and is tried first.
"""

import contextlib
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

import orjson
import yaml
from yaml.constructor import SafeConstructor

from kongdp.entities.declarative_errors import DeclarativeError
from kongdp.entities.declarative_lines import DEPTH_MAX

# A file of 100,000 routes with all their fields has 5 million nodes.
NODES_MAX = 20_000_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_construct_int = SafeConstructor().construct_yaml_int
_construct_float = SafeConstructor().construct_yaml_float
_CORE = "tag:yaml.org,2002:"
_PREFIX = "failed parsing declarative configuration: "


def parse_text(text: str | bytes, name_hint: str = "") -> Mapping[str, Any]:
    """The configuration a text holds. JSON is tried first, then YAML; `name_hint`, a file name, limits it to one by its
    extension.

    Raises DeclarativeError with the line and column of a syntax error.
    """
    extension = name_hint.rpartition(".")[2].lower() if "." in name_hint else ""
    if extension and extension not in ("json", "yaml", "yml"):
        raise _error(f"unknown file type: {name_hint}. (Accepted types: json, yaml)", prefix="")
    value = _parse(text, extension)
    if not isinstance(value, dict):
        raise _error("expected an object")
    return value


def _parse(text: str | bytes, extension: str) -> Any:
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    content = content.removeprefix(b"\xef\xbb\xbf")
    if extension in ("yaml", "yml") or content.lstrip()[:1] not in (b"{", b"["):
        return _parse_yaml(content)
    try:
        return orjson.loads(content)
    except ValueError as error:
        refusal = _error(_json_reason(error))
    if extension != "json":
        # YAML's flow style begins as JSON does; what is neither was most likely meant as JSON.
        with contextlib.suppress(DeclarativeError):
            return _parse_yaml(content)
    raise refusal


def _json_reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    return str(error)


def _parse_yaml(content: bytes) -> Any:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _error(f"not UTF-8 (byte {error.start})") from None
    try:
        loader = _Loader(text)
        try:
            return _Builder(loader).document()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _error(_yaml_reason(error)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _error(" ".join(str(error).split())) from None


def _yaml_reason(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f" at line {mark.line + 1} column {mark.column + 1}" if mark is not None else ""
    context = f"{error.context}, " if error.context else ""
    return f"{context}{error.problem or 'not valid YAML'}{where}"


class _Builder:
    """YAML events to values. A value that has an alias is built once, shared, and counted at each use.

    Events and not nodes: PyYAML's composer is recursive C, which deep nesting crashes.
    """

    def __init__(self, loader: Any) -> None:
        self._next = loader.get_event
        self._resolve = loader.resolve
        self._anchors: dict[str, tuple[Any, int]] = {}

    def document(self) -> Any:
        """The value of the only document, or None when there is none."""
        self._next()
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value, _ = self._build(self._next(), 0)
        self._next()
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _marked("expected a single document", event)
        return value

    def _build(self, event: Any, depth: int) -> tuple[Any, int]:
        """The value that begins with this event, and how many values it stands for."""
        if isinstance(event, yaml.AliasEvent):
            known = self._anchors.get(event.anchor or "")
            if known is None:
                raise _marked(f"undefined alias {event.anchor}", event)
            return known
        if depth > DEPTH_MAX:
            raise _marked("nested too deeply", event)
        if isinstance(event, yaml.ScalarEvent):
            built: tuple[Any, int] = _scalar(self._tag(event), event), 1
        elif isinstance(event, yaml.MappingStartEvent):
            _require_tag(event, "map")
            built = self._mapping(depth)
        else:
            _require_tag(event, "seq")
            built = self._sequence(depth)
        if built[1] > NODES_MAX:
            raise _marked(f"more than {NODES_MAX} values", event)
        if event.anchor is not None:
            self._anchors[event.anchor] = built
        return built

    def _tag(self, event: Any) -> str:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._resolve(yaml.ScalarNode, event.value, event.implicit)
        return str(tag).removeprefix(_CORE)

    def _sequence(self, depth: int) -> tuple[list[Any], int]:
        value, count = [], 1
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            item, size = self._build(event, depth + 1)
            value.append(item)
            count += size
        return value, count

    def _mapping(self, depth: int) -> tuple[dict[str, Any], int]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        count = 1
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise _marked("a key must be text", key)
            item, size = self._build(self._next(), depth + 1)
            count += size
            if key.value == "<<" and self._tag(key) == "merge":
                for source in item if isinstance(item, list) else [item]:
                    if not isinstance(source, dict):
                        raise _marked("expected a mapping to merge", key)
                    merged = {**source, **merged}
            else:
                own[key.value] = item
        return ({**merged, **own} if merged else own), count


_BOOLEANS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}


def _scalar(tag: str, event: Any) -> Any:
    text = event.value
    if tag in ("str", "timestamp", "value", "merge"):
        return text
    if tag == "null":
        return None
    if tag == "bool" and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if tag in ("int", "float"):
        return _number(tag, event)
    raise _marked(f"tag {tag} is not known here", event)


def _number(tag: str, event: Any) -> Any:
    """A number; an integer that 64 bits cannot hold becomes a float, as in Lua."""
    node = yaml.ScalarNode(_CORE + tag, event.value)
    try:
        number = _construct_int(node) if tag == "int" else _construct_float(node)
    except (ValueError, OverflowError):
        raise _marked(f"not a number: {event.value[:40]}", event) from None
    if isinstance(number, float) and not isfinite(number):
        raise _marked(f"not a number: {event.value[:40]}", event)
    if isinstance(number, int) and abs(number) >= 2**63:
        return float(number) if abs(number) < 1 << 1000 else event.value
    return number


def _require_tag(event: Any, name: str) -> None:
    if event.tag not in (None, "!", _CORE + name):
        raise _marked(f"tag {event.tag} is not known here", event)


def _marked(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _error(reason: str, prefix: str = _PREFIX) -> DeclarativeError:
    return DeclarativeError({"error": prefix + reason})
