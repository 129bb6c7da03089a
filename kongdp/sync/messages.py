"""The messages of the hybrid protocol (v1) and of our counter push: bytes on the wire <-> values. Both planes use
them.

In: frames as they came (the payload of one WebSocket message).  Out: frozen values, or MessageError that names what
is wrong.
House rule: this module encodes and decodes. It keeps no state, opens nothing, and never decides whether a message is
welcome.
Cold, and allowed to be slow: a large reconfigure takes a while, so callers run `decode_reconfigure` off their event
loop.
Source: Kong 3.9.1 `clustering/{control_plane,data_plane}.lua` as restated in the protocol notes, sections 2.1 to 2.8;
the error frame is Konnect's (2.8); counter frames are ours (8.3).
"""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from kongdp.entities.hashing import EMPTY_HASH, hashes
from kongdp.errors import KongdpError, Source

HASH_LENGTH = 32
CONFIG_BYTES_MAX = 512 * 1024 * 1024
"""Largest configuration after gunzip: 32 times the largest frame. Real configurations shrink 8 to 25 times, a bomb
1000 times.
"""

GZIP_LEVEL = 6
"""zlib's default and so Kong's: level 9 takes three times as long for about one per cent."""

ERROR_MESSAGE_CHARS_MAX = 16_384
ERROR_ENTRIES_MAX = 500
"""Bounds of an error report: a broken table of 100,000 rows must not become a frame the control plane refuses."""

COUNTER_ROWS_MAX = 10_000
"""Rows of one counter frame, about 700 KiB: more rows travel in several frames."""

UNKNOWN_ERROR = "generic or unknown error"
PARSE_FAILURE = "declarative configuration parse failure"
RELOAD_FAILURE = "configuration reload failed"
PARSE_FAILURE_CODE = 14

CounterRow = tuple[str, int, str, int]
"""(route id, status code, source "kong" or "service", total since boot); with code 0 and the source "latency_ms" the total is
what all requests of the route have taken, in ms. A receiver leaves out what it does not know."""


# A text frame from a control plane of ours to a data plane that enrolled with it: get another certificate now. Kong's
# data planes are never sent it; a node that does not know it says so in its log and goes on.
RENEW_CERTIFICATE = b'{"type":"renew_certificate"}'

# Buckets of the latencies that counter frames carry: those of Kong's request latency (exporter.lua 3.9), in ms.
LATENCY_BOUNDS_MS = (25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000)


class MessageError(KongdpError):
    """A frame that is not what the protocol says. Whoever reads frames ends the connection; the peer will be told
    nothing.
    """

    source = Source.UPSTREAM


@dataclass(frozen=True, slots=True)
class PluginVersion:
    """One plugin that is installed on a data plane."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class BasicInfo:
    """What a data plane says first. `process_conf` holds settings with secrets masked by whoever built it."""

    plugins: tuple[PluginVersion, ...]
    process_conf: Mapping[str, Any] = field(default_factory=dict)
    filters: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """A pushed configuration. `config_hash` is always there: computed here when the control plane left it out."""

    config_hash: str
    config_table: dict[str, Any]
    timestamp: float | None = None
    hashes: Mapping[str, str] | None = None
    is_hash_computed: bool = False


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """Why a data plane rejected a configuration; `config_hash` is the rejected one's."""

    name: str
    source: str
    message: str
    config_hash: str
    code: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    flattened_errors: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class CounterFrame:
    """Totals since boot of one run of one node; `seq` grows with each frame of a boot, `at` is epoch seconds of the
    reading. `latencies`: requests of the node since boot by latency, in buckets that end at LATENCY_BOUNDS_MS and one
    beyond; empty from a node that does not say. They are for looking at: not stored, not acknowledged.
    """

    node_id: str
    boot_id: str
    seq: int
    at: float
    rows: tuple[CounterRow, ...]
    latencies: tuple[int, ...] = ()


# data plane -> control plane


def encode_basic_info(info: BasicInfo) -> bytes:
    """The first frame of a data plane: plain JSON, plugins sorted by lower-cased name; `labels` is left out when
    there are none.
    """
    plugins = sorted(info.plugins, key=lambda plugin: plugin.name.lower())
    message: dict[str, Any] = {
        "type": "basic_info",
        "plugins": [{"name": plugin.name, "version": plugin.version} for plugin in plugins],
        "process_conf": dict(info.process_conf),
        "filters": dict(info.filters),
    }
    if info.labels:
        message["labels"] = dict(info.labels)
    return orjson.dumps(message, default=str)


def decode_basic_info(data: bytes) -> BasicInfo:
    """Read the first frame of a data plane. Unknown keys are accepted; Lua's `[]` for `{}` and the reverse too.
    Raises MessageError.
    """
    message = _json_object(data, "basic_info")
    if message.get("type") != "basic_info":
        raise MessageError(f"expected basic_info, got a message of type {message.get('type')!r}")
    plugins = message.get("plugins")
    if not isinstance(plugins, list | dict):
        raise MessageError("missing plugins in basic_info")
    return BasicInfo(
        plugins=tuple(_plugin_versions(plugins if isinstance(plugins, list) else plugins.values())),
        process_conf=_mapping(message.get("process_conf")),
        filters=_mapping(message.get("filters")),
        labels={str(key): str(value) for key, value in _mapping(message.get("labels")).items()},
    )


def ping_payload(config_hash: str) -> bytes:
    """The payload of a data plane's ping: the hash of the configuration now in force."""
    payload = config_hash.encode("ascii")
    assert len(payload) == HASH_LENGTH, "a hash that is not 32 characters was accepted somewhere"
    return payload


def decode_ping(payload: bytes) -> str:
    """The hash in a data plane's ping. Raises MessageError in Kong's words for any other length."""
    text = payload.decode("latin-1")
    if len(text) != HASH_LENGTH or not (text.isascii() and text.isalnum()):
        raise MessageError(f"received a ping frame from the data plane with an invalid hash: '{text[:64]}'")
    return text


def encode_error(report: ErrorReport) -> bytes:
    """The error frame: plain JSON. The offending entities themselves are left out, long texts and lists are cut."""
    error: dict[str, Any] = {
        "name": report.name,
        "source": report.source,
        "message": report.message[:ERROR_MESSAGE_CHARS_MAX],
        "config_hash": report.config_hash,
    }
    if report.code is not None:
        error["code"] = report.code
        error["fields"] = dict(report.fields) if len(repr(report.fields)) <= ERROR_MESSAGE_CHARS_MAX else {}
        error["flattened_errors"] = [
            {key: value for key, value in entry.items() if key != "entity"}
            for entry in report.flattened_errors[:ERROR_ENTRIES_MAX]
        ]
    return orjson.dumps({"type": "error", "error": error}, default=str, option=orjson.OPT_NON_STR_KEYS)


def decode_error(data: bytes) -> ErrorReport | None:
    """The report in an error frame, or None for a message of another type. Raises MessageError when it is malformed."""
    message = _json_object(data, "error frame")
    if message.get("type") != "error":
        return None
    error = message.get("error")
    if not isinstance(error, dict):
        raise MessageError("an error frame without an error object")
    code = error.get("code")
    entries = error.get("flattened_errors")
    return ErrorReport(
        name=str(error.get("name") or UNKNOWN_ERROR),
        source=str(error.get("source") or ""),
        message=str(error.get("message") or ""),
        config_hash=str(error.get("config_hash") or EMPTY_HASH),
        code=code if isinstance(code, int) else None,
        fields=_mapping(error.get("fields")),
        flattened_errors=tuple(entry for entry in entries if isinstance(entry, dict))
        if isinstance(entries, list)
        else (),
    )


# control plane -> data plane


def encode_reconfigure(message: Reconfigure) -> bytes:
    """A configuration push: gzip of JSON. The caller compares the length with the largest frame its peers accept."""
    body: dict[str, Any] = {"type": "reconfigure"}
    if message.timestamp is not None:
        body["timestamp"] = message.timestamp
    body["config_table"] = message.config_table
    body["config_hash"] = message.config_hash
    if message.hashes is not None:
        body["hashes"] = dict(message.hashes)
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, wbits=31)
    return compressor.compress(orjson.dumps(body)) + compressor.flush()


def decode_reconfigure(data: bytes, *, config_bytes_max: int = CONFIG_BYTES_MAX) -> Reconfigure | None:
    """Read a push, or return None for a message of another type (ignored silently, as Kong does).

    Raises MessageError for bytes that are not gzip or not JSON, for more than `config_bytes_max` bytes of text, and
    for a reconfigure without an object as `config_table` or with a hash that could not be pinged back.
    """
    message = _json_object(gunzip(data, config_bytes_max), "configuration")
    if message.get("type") != "reconfigure":
        return None
    config_table = message.get("config_table")
    if not isinstance(config_table, dict):
        raise MessageError("a reconfigure message without a config_table object")
    timestamp = message.get("timestamp")
    sections = message.get("hashes")
    config_hash = message.get("config_hash")
    is_hash_computed = config_hash is None
    if is_hash_computed:
        computed = hashes(config_table)
        config_hash, sections = computed.config, dict(computed.sections)
    if not (isinstance(config_hash, str) and len(config_hash) == HASH_LENGTH and config_hash.isascii()):
        raise MessageError(f"config_hash must have {HASH_LENGTH} characters, got {str(config_hash)[:64]!r}")
    return Reconfigure(
        config_hash=config_hash,
        config_table=config_table,
        timestamp=float(timestamp) if isinstance(timestamp, int | float) else None,
        hashes=sections if isinstance(sections, dict) else None,
        is_hash_computed=is_hash_computed,
    )


def gunzip(data: bytes, bytes_max: int) -> bytes:
    """Decompress gzip (RFC 1952, one member or several), never holding more than `bytes_max` bytes of output. Raises
    MessageError.
    """
    pieces: list[bytes] = []
    room = bytes_max
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            piece = member.decompress(data, room + 1)
        except zlib.error as error:
            raise MessageError(f"not gzip: {error}") from None
        room -= len(piece)
        if room < 0:
            raise MessageError(f"more than {bytes_max} bytes after decompression")
        if not member.eof:
            raise MessageError("not gzip: the data ends in the middle")
        pieces.append(piece)
        data = member.unused_data
    if not pieces:
        raise MessageError("not gzip: empty")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


# counters, both ways


def encode_counters(frame: CounterFrame) -> bytes:
    """A counter frame as JSON text (the payload of a text frame)."""
    return orjson.dumps(
        {
            "node_id": frame.node_id,
            "boot_id": frame.boot_id,
            "seq": frame.seq,
            "at": frame.at,
            "rows": frame.rows,
            **({"latencies": frame.latencies} if frame.latencies else {}),
        }
    )


def decode_counters(data: bytes | str) -> CounterFrame:
    """Read a counter frame. Raises MessageError unless every row is [route id, code, source, total >= 0]: what cannot be
    stored must not get as far as a batch in which other nodes' frames are.
    """
    message = _json_object(data, "counter frame")
    try:
        rows = message["rows"]
        if len(rows) > COUNTER_ROWS_MAX:
            raise MessageError(f"counter frame with {len(rows)} rows, more than {COUNTER_ROWS_MAX}")
        return CounterFrame(
            node_id=_text(message["node_id"]),
            boot_id=_text(message["boot_id"]),
            seq=_count(message["seq"]),
            at=_moment(message["at"]),
            rows=tuple(
                (_text(route), _count(code), _text(source), _count(total)) for route, code, source, total in rows
            ),
            latencies=_latencies(message.get("latencies")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"malformed counter frame: {error!r}") from None


def _latencies(found: object) -> tuple[int, ...]:
    """A histogram, or nothing where there is none of our shape."""
    if not isinstance(found, list) or len(found) != len(LATENCY_BOUNDS_MS) + 1:
        return ()
    return tuple(_count(each) for each in found)


def encode_ack(seq: int) -> bytes:
    """The control plane's answer to a counter frame: everything of that frame is stored."""
    return orjson.dumps({"ack": seq})


def decode_ack(data: bytes | str) -> int:
    """The sequence number in an answer. Raises MessageError."""
    try:
        return _count(_json_object(data, "answer to a counter frame")["ack"])
    except (KeyError, TypeError) as error:
        raise MessageError(f"malformed answer to a counter frame: {error!r}") from None


# shared pieces


def _json_object(data: bytes | str, what: str) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MessageError(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MessageError(f"{what} is not a JSON object")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    """An object, or an empty one for what Lua writes as an empty array and for everything else."""
    return value if isinstance(value, dict) else {}


def _plugin_versions(entries: Iterable[object]) -> Sequence[PluginVersion]:
    return [
        PluginVersion(str(entry["name"]), str(entry.get("version") or ""))
        for entry in entries
        if isinstance(entry, dict) and "name" in entry
    ]


def _text(value: object) -> str:
    # PostgreSQL takes no NUL in a text.
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"expected a string, got {value!r}")
    return value


def _moment(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError(f"expected a time, got {value!r}")
    return float(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"expected a count, got {value!r}")
    return value
