"""Lines that are known from earlier heads: read from memory, they say what they said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kongdp.http1 import parser, scan
from kongdp.http1.fields import REQUEST_FIELDS, TE, NameKinds
from kongdp.http1.messages import BadMessage
from kongdp.http1.parser import HeadLimits, parse_request_head, parse_response_head
from kongdp.http1.scan import KnownLines, Scanned
from tests.http1.test_kernel import LINES, request, response, values

LIMITS = HeadLimits()


def outcome(raw: bytes, *, of_response: bool) -> object:
    """Everything the head says, or why it was refused."""
    try:
        head = parse_response_head(raw, charset=b"UTF-8") if of_response else parse_request_head(raw, LIMITS)
    except BadMessage as problem:
        return problem.status, problem.public
    return values(head)


@given(st.lists(LINES, min_size=1, max_size=4), st.booleans())
def test_heads_say_the_same_when_their_lines_are_known(
    heads: list[list[tuple[bytes, bytes]]], of_response: bool
) -> None:
    """Each head read by itself, against each read after the others, whose lines it may share in any mixture."""
    heads.append([line for lines in heads for line in lines[::2]])
    raws = [response(b"200 OK", lines) if of_response else request(b"GET", b"/", lines) for lines in heads]
    known = parser._RESPONSE_LINES if of_response else parser._REQUEST_LINES
    alone = []
    for raw in raws:
        known.clear()
        alone.append(outcome(raw, of_response=of_response))
    known.clear()
    assert [outcome(raw, of_response=of_response) for raw in raws] == alone
    assert [outcome(raw, of_response=of_response) for raw in raws] == alone


def test_memory_of_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long lines are not kept; when it is full it starts anew. Only lines that are not known are judged."""
    monkeypatch.setattr(scan, "KNOWN_LINES_MAX", 3)
    monkeypatch.setattr(scan, "KNOWN_LINE_BYTES_MAX", 8)
    known = KnownLines(NameKinds(REQUEST_FIELDS))
    asked: list[bytes] = []

    def read(*lines: bytes, remember: bool = True) -> Scanned:
        asked.clear()

        def judge(new: list[bytes]) -> bool:
            asked.extend(new)
            return remember

        return known.read(list(lines), judge)

    read(b"a: 1", b"b: 123456")
    assert list(known) == [b"a: 1"]
    read(b"c: 1", b"d: 1", b"e: 1")
    assert list(known) == [b"e: 1"]
    read(b"f: 1", remember=False)
    assert list(known) == [b"e: 1"]
    assert read(b"f: 1", b"e: 1", b"te: x") == (b"f: 1\r\ne: 1\r\n", [(TE, b"x")], 3)
    assert asked == [b"f: 1", b"te: x"], "a known line was judged again"
    assert read(b"e: 1") == (b"e: 1\r\n", [], 1)
    assert not asked
