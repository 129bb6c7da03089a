"""The channel's words and their bytes."""

import orjson
import pytest

from kongdp.process.messages import (
    Applied,
    Begin,
    Commit,
    Failed,
    Hello,
    Message,
    MessageError,
    Slice,
    WantTable,
    decode,
    encode,
    slices,
)

HASH = "a" * 32
EXAMPLES: tuple[Message, ...] = (
    Hello(1, 2, 3, HASH),
    WantTable(HASH),
    Applied(HASH, 0.25),
    Failed(HASH, "no"),
    Begin(HASH, None, 7),
    Begin(HASH, "b" * 32, 0),
    Slice((("routes", "id-1", {"paths": ["/é"]}), ("services", "id-2", None))),
    Commit(HASH),
)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    """decode undoes encode for every type."""
    assert decode(encode(message)) == message


def test_the_wire_form_is_the_documented_one() -> None:
    """A type and its fields, by name."""
    assert orjson.loads(encode(Begin(HASH, None, 7))) == {"type": "begin", "hash": HASH, "base_hash": None, "count": 7}
    assert orjson.loads(encode(Slice((("routes", "x", None),)))) == {
        "type": "slice",
        "changes": [["routes", "x", None]],
    }


def test_a_type_of_a_later_version_is_passed_over() -> None:
    """So that processes of two versions understand each other during an upgrade."""
    assert decode(b'{"type":"poem","lines":[]}') is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"hash":"x"}',
        b'{"type":1}',
        b'{"type":"hello","index":-1,"generation":1,"pid":1,"hash":""}',
        b'{"type":"hello","index":true,"generation":1,"pid":1,"hash":""}',
        b'{"type":"want_table"}',
        b'{"type":"commit","hash":null}',
        b'{"type":"applied","hash":"","seconds":"soon"}',
        b'{"type":"slice","changes":[["routes","x"]]}',
        b'{"type":"slice","changes":[["routes","x",[]]]}',
        b'{"type":"slice","changes":7}',
        b"\xff",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Malformed bytes raise one error type."""
    with pytest.raises(MessageError):
        decode(data)


def test_changes_are_cut_into_slices_in_order() -> None:
    """At most so many rows in one message."""
    changes = [("routes", str(number), None) for number in range(5)]
    assert [[change[1] for change in part.changes] for part in slices(changes, 2)] == [["0", "1"], ["2", "3"], ["4"]]
    assert slices([]) == []
