"""Requests and responses nobody wrote down, read by us and by h11, which shares no line with us.

Hypothesis makes well-formed messages and mutates their bytes. What we forward must be, for h11 behind us, exactly one request with the
body that h11 in front of us reads; what h11 refuses, we refuse. Where h11 is more lenient (folding, equal lengths) we may refuse more.
CI runs a bounded number of examples; `-m soak` runs a hundred times as many.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import h11
import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kongdp.proxy.environment import Limits
from tests.support.gateway import Gateway, running_gateway
from tests.support.h11_upstream import H11Upstream, h11_upstream
from tests.support.raw_client import Seen, parse
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

EXAMPLES = 250
SOAK_EXAMPLES = 25_000

OPTIONS = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    "phases": [Phase.explicit, Phase.generate, Phase.shrink],
    "database": None,
    "derandomize": True,
}

# --- messages -----------------------------------------------------------------------------------------------------------------------

tokens = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.!~*'", min_size=1, max_size=12).map(str.encode)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20).map(str.encode)
odd_fields = st.sampled_from(
    [
        b"Connection: keep-alive", b"Connection: close", b"Connection: upgrade, x-a", b"Upgrade: websocket", b"Upgrade: h2c",
        b"TE: trailers", b"Expect: 100-continue", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity",
        b"Transfer-Encoding : chunked", b"Transfer-Encoding:\tchunked", b"transfer-encoding: CHUNKED", b"Content-Length: 5",
        b"Content-Length: 0", b"Content-Length: 05", b"Content-Length: 5, 5", b"Content-Length: +5", b"content-length:5 ",
        b"Trailer: X-T", b"Keep-Alive: timeout=5", b"Via: 1.0 a", b"X-Forwarded-For: 1.2.3.4", b"Proxy-Connection: close",
    ]
)  # fmt: skip
fields = st.lists(
    st.one_of(st.builds(lambda name, value: b"X-" + name + b": " + value, tokens, values), odd_fields), max_size=5
)
bodies = st.binary(max_size=60)
extensions = st.sampled_from([b"", b"", b"", b";a", b";a=b", b';a="b;c"'])


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """A chunked body."""
    out = b""
    for piece in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4)):
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(piece)
        out += size + draw(extensions) + b"\r\n" + piece + b"\r\n"
    return out + b"0" + draw(extensions) + b"\r\n" + draw(st.sampled_from([b"", b"", b"X-T: v\r\n"])) + b"\r\n"


@st.composite
def framed(draw: st.DrawFn, start: bytes) -> bytes:
    """A message: start line, fields in any order, a body framed in one of the ways there are."""
    lines = draw(fields)
    kind = draw(st.sampled_from(["none", "none", "length", "chunks", "wrong length"]))
    body = b""
    if kind == "chunks":
        body = draw(chunked())
        lines.insert(draw(st.integers(0, len(lines))), b"Transfer-Encoding: chunked")
    elif kind != "none":
        body = draw(bodies)
        length = len(body) + (draw(st.integers(-2, 2)) if kind == "wrong length" else 0)
        lines.insert(draw(st.integers(0, len(lines))), b"Content-Length: %d" % length)
    return start + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


splices = st.one_of(
    st.binary(max_size=3),
    st.sampled_from(
        [
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b"\x00",
            b" ",
            b"\t",
            b":",
            b";",
            b",",
            b"0\r\n\r\n",
            b"\x0b",
            b"\xa0",
            b"\r\n ",
            b"+",
            b"-",
            b"0x",
        ]
    ),
)


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """A message with up to three places changed: bytes cut out, put in, or repeated."""
    raw = draw(messages)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        gone = draw(st.integers(0, 4))
        again = draw(st.booleans())
        raw = raw[:at] + (raw[at : at + gone] * 2 if again else draw(splices)) + raw[at + gone :]
    return raw


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request with its Host."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PURGE"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    return draw(framed(method + b" /a HTTP/" + version + b"\r\nHost: gw.test\r\n"))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A response of any status that has a meaning."""
    status = draw(
        st.sampled_from([b"200 OK", b"200 OK", b"404 Not Found", b"204 No Content", b"304 Not Modified", b"500"])
    )
    interim = draw(
        st.sampled_from(
            [b"", b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]
        )
    )
    return interim + draw(framed(b"HTTP/1.1 " + status + b"\r\n"))


# --- the other parser ---------------------------------------------------------------------------------------------------------------


BEYOND_ASCII = re.compile(rb"[\x80-\xff]")


@dataclass(frozen=True)
class Read:
    """What h11 reads: the first message whole (body), unfinished, or refused."""

    verdict: str
    method: bytes = b""
    body: bytes = b""
    status: int = 0


def read_request(raw: bytes) -> Read:
    """The first request of a client that sends `raw` and waits."""
    connection = h11.Connection(h11.SERVER)
    # RFC 9112 section 2.2: empty lines before a request line are ignored; h11 does not, we ignore two
    raw = raw.removeprefix(b"\r\n").removeprefix(b"\r\n")
    # bytes beyond ASCII in a target are served percent-encoded, as Kong does; h11 refuses them; no framing depends on them
    method, space, rest = raw.partition(b" ")
    target, other_space, rest = rest.partition(b" ")
    return _read(connection, method + space + BEYOND_ASCII.sub(b"x", target) + other_space + rest, ended=False)


def read_response(raw: bytes) -> Read:
    """The response to a GET of an upstream that sends `raw` and closes."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/a", headers=[("Host", "gw.test")]))
    connection.send(h11.EndOfMessage())
    return _read(connection, raw, ended=True)


def _read(connection: h11.Connection, raw: bytes, *, ended: bool) -> Read:
    method, body, status = b"", b"", 0
    try:
        connection.receive_data(raw)
        if ended:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                method = bytes(event.method)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Read("whole", method, body, status)
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return Read("unfinished", method, body, status)
    except h11.RemoteProtocolError as problem:
        return Read(f"refused: {problem}")


# --- request side -------------------------------------------------------------------------------------------------------------------


class Rig:
    """A gateway and an h11 upstream on one loop that lives as long as the test."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._stack = contextlib.AsyncExitStack()
        self.upstream: H11Upstream
        self.gateway: Gateway

    async def _open(self) -> None:
        self.upstream = await self._stack.enter_async_context(h11_upstream())
        route = {"strip_path": False}
        limits = Limits(header_timeout_s=0.05, body_timeout_s=0.05, linger_s=0.05, linger_total_s=0.1)
        self.gateway = await self._stack.enter_async_context(
            running_gateway(config(self.upstream.url, route=route, read_timeout=2000), limits=limits)
        )

    def __enter__(self) -> "Rig":
        self.runner.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.run(self._stack.aclose())
        self.runner.close()

    def ask(self, raw: bytes) -> Seen:
        """The first final answer to `raw`, or what became of the connection."""
        return self.runner.run(self._ask(raw))

    async def _ask(self, raw: bytes) -> Seen:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        data = b""
        try:
            writer.write(raw)
            async with asyncio.timeout(30):
                while True:
                    piece = await reader.read(65536)
                    data += piece
                    seen = parse(data, raw.split(b" ", 1)[0].decode("latin-1"), ended=not piece)
                    if seen is not None:
                        return seen
                    if not piece:
                        return Seen("cut", body=data)
        except ConnectionError:
            return Seen("closed")
        finally:
            writer.close()


def check_request(rig: Rig, raw: bytes) -> None:
    """One request, both readings."""
    rig.upstream.requests.clear()
    rig.upstream.complaints.clear()
    hurried(rig.gateway)
    seen = rig.ask(raw)
    theirs = read_request(raw)
    assert rig.upstream.complaints == [], (raw, rig.upstream.complaints)
    forwarded = list(rig.upstream.requests)
    if forwarded:
        assert theirs.verdict == "whole", (raw, theirs, forwarded)
        first = forwarded[0]
        assert (first.method, first.body) == (theirs.method, theirs.body), (raw, theirs, first)
        assert not first.trailers
    if theirs.verdict.startswith("refused") and not forwarded:
        assert seen.status in (400, 405, 408, 413, 414, 501, 505, "closed"), (raw, theirs, seen)
    if theirs.verdict == "unfinished":
        assert forwarded == [], (raw, forwarded)


def hurried(gateway: Gateway) -> None:
    """Deadlines of unfinished messages are enforced at once, so that an example does not take a second."""
    gateway.env.sweep_period_s = 0.02


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A rig for one test."""
    with Rig() as made:
        yield made


@settings(max_examples=EXAMPLES, **OPTIONS)
@given(raw=mutated(requests()))
def test_request_when_bytes_are_changed(rig: Rig, raw: bytes) -> None:
    """What we forward is what h11 reads; what h11 refuses is refused."""
    check_request(rig, raw)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=SOAK_EXAMPLES, **{**OPTIONS, "derandomize": False})
@given(raw=mutated(requests()))
def test_request_when_bytes_are_changed_for_long(rig: Rig, raw: bytes) -> None:
    """The same with many more examples, other ones each time."""
    check_request(rig, raw)


# --- response side ------------------------------------------------------------------------------------------------------------------


class ResponseRig(Rig):
    """A gateway and an upstream that sends `self.raw` and closes."""

    raw = b""

    async def _open(self) -> None:
        async def script(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await upstream.read_head(reader)
            writer.write(self.raw)

        upstream = await self._stack.enter_async_context(scripted_upstream(script))
        self.gateway = await self._stack.enter_async_context(
            running_gateway(config(upstream.url, retries=0, read_timeout=2000))
        )


def check_response(rig: ResponseRig, raw: bytes) -> None:
    """One response, both readings."""
    rig.raw = raw
    seen = rig.ask(b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\n")
    theirs = read_response(raw)
    if isinstance(seen.status, int) and "x-kong-upstream-latency" in seen.headers and seen.status != 502:
        assert theirs.verdict == "whole", (raw, theirs, seen)
        assert (seen.status, seen.body) == (theirs.status, theirs.body), (raw, theirs, seen)
        assert seen.rest == b"", (raw, seen)
    else:
        assert seen.status in (502, "cut", "closed", "garbage"), (raw, theirs, seen)


@pytest.fixture
def response_rig() -> Iterator[ResponseRig]:
    """A rig for one test."""
    with ResponseRig() as made:
        assert isinstance(made, ResponseRig)
        yield made


@settings(max_examples=EXAMPLES, **OPTIONS)
@given(raw=mutated(responses()))
def test_response_when_bytes_are_changed(response_rig: ResponseRig, raw: bytes) -> None:
    """What reaches the client is what h11 reads; what h11 refuses reaches nobody as a whole answer."""
    check_response(response_rig, raw)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=SOAK_EXAMPLES, **{**OPTIONS, "derandomize": False})
@given(raw=mutated(responses()))
def test_response_when_bytes_are_changed_for_long(response_rig: ResponseRig, raw: bytes) -> None:
    """The same with many more examples, other ones each time."""
    check_response(response_rig, raw)
