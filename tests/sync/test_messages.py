"""Frames of the hybrid protocol and of the counter push: encoded, decoded, refused."""

import gzip
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from kongdp.sync import messages
from kongdp.sync.messages import (
    BasicInfo,
    CounterFrame,
    ErrorReport,
    MessageError,
    PluginVersion,
    Reconfigure,
)

DATA = Path(__file__).parents[1] / "conformance" / "data"
TRANSCRIPT = json.loads((DATA / "dp-transcript-3.9.1.json").read_text())["events"]
PUSH = json.loads((DATA / "reconfigure-3.9.1.json").read_text())
HASH = "a" * 32


def packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode())


def test_real_basic_info_is_read_when_a_kong_data_plane_sends_it() -> None:
    """The first frame of a Kong 3.9.1 data plane: its plugins, its settings, Lua's empty tables."""
    (frame,) = [event["data"] for event in TRANSCRIPT if event["ev"] == "binary"]
    info = messages.decode_basic_info(json.dumps(frame).encode())
    assert info.plugins[0] == PluginVersion("acl", "3.9.1")
    assert info.process_conf["role"] == "data_plane"
    assert info.labels == {}


def test_real_push_is_read_when_a_kong_control_plane_sends_it() -> None:
    """The reconfigure of a Kong 3.9.1 control plane keeps its hash, table and section hashes."""
    message = messages.decode_reconfigure(packed(PUSH))
    assert message is not None
    assert message.config_hash == PUSH["config_hash"]
    assert message.config_table == PUSH["config_table"]
    assert message.hashes == PUSH["hashes"]
    assert message.timestamp == pytest.approx(PUSH["timestamp"])


def test_basic_info_has_kongs_form_when_encoded() -> None:
    """Plain JSON; plugins sorted by lower-cased name; no `labels` key when there are none."""
    info = BasicInfo((PluginVersion("b", "1"), PluginVersion("A", "2")), {"role": "data_plane"})
    value = json.loads(messages.encode_basic_info(info))
    assert value == {
        "type": "basic_info",
        "plugins": [{"name": "A", "version": "2"}, {"name": "b", "version": "1"}],
        "process_conf": {"role": "data_plane"},
        "filters": {},
    }
    labelled = BasicInfo((), labels={"region": "eu"})
    assert json.loads(messages.encode_basic_info(labelled))["labels"] == {"region": "eu"}


@pytest.mark.parametrize(
    "info",
    [BasicInfo(()), BasicInfo((PluginVersion("acl", "3.9.1"),), {"a": 1}, {"f": {}}, {"region": "eu"})],
)
def test_basic_info_survives_when_it_travels(info: BasicInfo) -> None:
    """What one plane encodes the other decodes."""
    assert messages.decode_basic_info(messages.encode_basic_info(info)) == info


@pytest.mark.parametrize(
    ("frame", "plugins"),
    [
        ({"type": "basic_info", "plugins": {}}, ()),
        ({"type": "basic_info", "plugins": [], "filters": [], "labels": [], "unknown": 1}, ()),
        ({"type": "basic_info", "plugins": [{"name": "acl"}]}, (PluginVersion("acl", ""),)),
    ],
)
def test_basic_info_is_accepted_when_lua_or_an_old_version_wrote_it(frame: Any, plugins: Any) -> None:
    """Empty tables of either kind, missing keys of versions before 3.3, unknown keys."""
    assert messages.decode_basic_info(json.dumps(frame).encode()).plugins == plugins


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"type":"ping"}', "type 'ping'"),
        (b'{"type":"basic_info"}', "missing plugins"),
        (b'{"type":"basic_info","plugins":"x"}', "missing plugins"),
    ],
)
def test_basic_info_is_refused_when_malformed(data: bytes, text: str) -> None:
    """Each fault is named."""
    with pytest.raises(MessageError, match=text):
        messages.decode_basic_info(data)


@pytest.mark.parametrize("payload", [b"", b"a" * 31, b"a" * 33, b"\n" + b"a" * 31, b"\xff" * 32])
def test_ping_is_refused_when_it_is_no_hash(payload: bytes) -> None:
    """A ping of 31 bytes ends the connection in Kong's words."""
    with pytest.raises(MessageError, match="received a ping frame from the data plane with an invalid hash: '"):
        messages.decode_ping(payload)


def test_ping_carries_the_hash_when_encoded() -> None:
    """32 ASCII characters, both ways."""
    assert messages.decode_ping(messages.ping_payload(HASH)) == HASH


def test_reconfigure_survives_when_it_travels() -> None:
    """gzip of JSON with Kong's keys."""
    message = Reconfigure(HASH, {"_format_version": "3.0", "services": []}, 1.5, {"services": HASH})
    frame = messages.encode_reconfigure(message)
    assert json.loads(gzip.decompress(frame))["type"] == "reconfigure"
    assert messages.decode_reconfigure(frame) == message


def test_message_of_another_type_is_ignored_when_pushed() -> None:
    """Silently: a later protocol may send more."""
    assert messages.decode_reconfigure(packed({"type": "hello"})) is None


def test_koko_push_is_read_when_it_has_no_timestamp() -> None:
    """koko leaves the timestamp out and lists a hash for every section but none for `config`."""
    message = messages.decode_reconfigure(
        packed({"type": "reconfigure", "config_hash": HASH, "config_table": {}, "hashes": {"_transform": HASH}})
    )
    assert message == Reconfigure(HASH, {}, None, {"_transform": HASH})


def test_hash_is_computed_when_the_control_plane_left_it_out() -> None:
    """2.3: compute the hash and the section hashes, differently for different content."""
    one, two = (
        messages.decode_reconfigure(packed({"type": "reconfigure", "config_table": {"services": [{"id": each}]}}))
        for each in ("1", "2")
    )
    assert one is not None
    assert two is not None
    assert len(one.config_hash) == 32
    assert one.config_hash != two.config_hash


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (b"", "not gzip: empty"),
        (b"{}", "not gzip"),
        (packed({"type": "reconfigure"})[:-9], "ends in the middle"),
        (gzip.compress(b"{"), "not JSON"),
        (gzip.compress(b"[]"), "not a JSON object"),
        (packed({"type": "reconfigure"}), "without a config_table"),
        (packed({"type": "reconfigure", "config_table": []}), "without a config_table"),
        (packed({"type": "reconfigure", "config_table": {}, "config_hash": "short"}), "32 characters"),
        (packed({"type": "reconfigure", "config_table": {}, "config_hash": 5}), "32 characters"),
    ],
)
def test_push_is_refused_when_malformed(frame: bytes, text: str) -> None:
    """Bytes that are no configuration end the connection with a reason."""
    with pytest.raises(MessageError, match=text):
        messages.decode_reconfigure(frame)


def test_gzip_bomb_is_refused_when_it_exceeds_the_limit() -> None:
    """The output is never held beyond the limit, whatever the frame promises."""
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join([compressor.compress(bytes(1024 * 1024)) for _ in range(64)]) + compressor.flush()
    tracemalloc.start()
    with pytest.raises(MessageError, match="more than 1000000 bytes after decompression"):
        messages.decode_reconfigure(bomb, config_bytes_max=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_several_gzip_members_are_one_text_when_concatenated() -> None:
    """RFC 1952: members follow each other; the limit is for all together."""
    data = gzip.compress(b"a" * 10) + gzip.compress(b"b" * 10)
    assert messages.gunzip(data, 20) == b"a" * 10 + b"b" * 10
    with pytest.raises(MessageError):
        messages.gunzip(data, 19)


def test_error_frame_leaves_entities_out_when_encoded() -> None:
    """2.8: names, ids, tags and messages travel; the entity itself, which may hold a secret, does not."""
    entry = {
        "entity_type": "route",
        "entity_id": "1",
        "entity": {"secret": "x"},
        "errors": [{"type": "field", "field": "methods", "message": "bad"}],
    }
    report = ErrorReport(messages.PARSE_FAILURE, "here", "bad", HASH, 14, {"routes": {"1": "x"}}, (entry,))
    frame = messages.encode_error(report)
    assert b"secret" not in frame
    decoded = messages.decode_error(frame)
    assert decoded is not None
    assert (decoded.name, decoded.code, decoded.config_hash) == (messages.PARSE_FAILURE, 14, HASH)
    assert decoded.fields == {"routes": {"1": "x"}}
    assert decoded.flattened_errors[0]["errors"] == entry["errors"]


def test_error_frame_is_bounded_when_everything_is_wrong() -> None:
    """100,000 bad rows do not make a frame that the control plane refuses for its size."""
    entry = {"entity_type": "route", "errors": [{"type": "field", "field": "x", "message": "y" * 100}]}
    report = ErrorReport("n", "s", "m" * 1_000_000, HASH, 14, {"routes": ["z" * 100_000]}, (entry,) * 100_000)
    assert len(messages.encode_error(report)) < 200_000


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"type":"other"}', None),
        (b'{"type":"error","error":{}}', ErrorReport(messages.UNKNOWN_ERROR, "", "", "0" * 32)),
    ],
)
def test_error_frame_is_read_when_sparse(data: bytes, expected: ErrorReport | None) -> None:
    """Another type is none of it; missing keys have harmless values."""
    assert messages.decode_error(data) == expected


def test_error_frame_is_refused_when_it_has_no_error() -> None:
    """An error frame without its object is malformed."""
    with pytest.raises(MessageError):
        messages.decode_error(b'{"type":"error"}')


COUNTERS = CounterFrame("node", "boot", 7, 12.5, (("route", 200, "service", 3),))


def test_counters_survive_when_they_travel() -> None:
    """Text of JSON, rows as arrays; the answer carries the sequence number."""
    data = messages.encode_counters(COUNTERS)
    assert json.loads(data)["rows"] == [["route", 200, "service", 3]]
    assert messages.decode_counters(data.decode()) == COUNTERS
    assert messages.decode_ack(messages.encode_ack(7)) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [["route", 200, "service"]]},
        {"rows": [["route", 200, "service", -1]]},
        {"rows": [["route", True, "service", 1]]},
        {"rows": [[1, 200, "service", 1]]},
        {"rows": 5},
        {"rows": [["r", 200, "kong", 1]] * 10_001},
        {"seq": "7"},
        {"at": None},
        {"at": "nan"},
        {"node_id": 1},
        {"boot_id": "b\0"},
        {"rows": [["r\0", 200, "kong", 1]]},
    ],
)
def test_counters_are_refused_when_malformed(change: dict[str, Any]) -> None:
    """A row that is not [text, count, text, count], or too many rows, is no counter frame."""
    value = {**json.loads(messages.encode_counters(COUNTERS)), **change}
    with pytest.raises(MessageError):
        messages.decode_counters(json.dumps(value))


@pytest.mark.parametrize("data", [b"", b"{}", b'{"ack":-1}', b'{"ack":"1"}'])
def test_ack_is_refused_when_malformed(data: bytes) -> None:
    """Only a count is an acknowledgement."""
    with pytest.raises(MessageError):
        messages.decode_ack(data)
