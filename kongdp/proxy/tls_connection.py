"""A client of a TLS listener: its first byte, the handshake, then record after record between the socket and a DownstreamConnection.

In: bytes of the socket's transport.  Out: what they say, to the DownstreamConnection, whose transport this is; its answers as records.
Who speaks plain HTTP instead is handed over to the bare socket to be told so (Kong: 400 with nginx's words for it). With
`proxy_protocol` the preamble, which comes before the handshake, is read first.
House rules: nothing is held back here: what is written is encrypted and passed on at once, so that limits, backpressure and deadlines
are the socket's. Only what came before the client's reading was paused stays, a read at most. Until the handshake is over this stands
among the worker's connections itself, with the deadline of a head; then the DownstreamConnection does.
Hot: `data_received` and `write`. Warm: the handshake.
Source: ours; RFC 8446 section 6.1 for the end: close_notify is sent and, as nginx does, the client's is not waited for.
PERF: the event loop's own TLS makes a task, timers, a future and 256 KiB for each connection, and waits for the client's end. A
connection with a full handshake cost 1.38 times nginx's and 43 system calls with it, 1.20 and 29 with this (bench/whole tls-full).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any, Protocol, cast

from kongdp.proxy.answers import NEVER, Answers
from kongdp.proxy.downstream import DRAIN_GRACE_S, DownstreamConnection
from kongdp.proxy.environment import Environment
from kongdp.proxy.proxy_protocol import PreambleError, read_preamble

log = logging.getLogger(__name__)

HANDSHAKE_RECORD = 0x16
"""First byte of every TLS connection: a record of type handshake (RFC 8446 section 5.1)."""

_RECORD = 1 << 14  # most plain text of one record (RFC 8446 section 5.1)
_PIECE = 4 * _RECORD  # encrypted at once: OpenSSL's buffer keeps the size it once had

_ARRIVING, _HANDSHAKE, _OPEN, _OVER = range(4)


class ConnectionMaker(Protocol):
    """Makes the protocol of one client. `plain`: it spoke plain HTTP; `source`: the client a PROXY preamble named."""

    def __call__(self, *, plain: bool, source: str | None) -> DownstreamConnection: ...


class TlsConnection:
    """One client, and the transport of its DownstreamConnection. A protocol to the socket's transport."""

    __slots__ = (
        "_client",
        "_context",
        "_cut",
        "_decrypt",
        "_encrypt",
        "_expects_preamble",
        "_incoming",
        "_make",
        "_object",
        "_outgoing",
        "_paused",
        "_pending",
        "_preamble",
        "_source",
        "_state",
        "_transport",
        "deadline",
        "env",
        "exchange",
    )

    is_reading = True  # counted with those whose head is awaited

    def __init__(
        self, env: Environment, context: ssl.SSLContext, make: ConnectionMaker, *, proxy_protocol: bool = False
    ) -> None:
        self.env = env
        self._context = context
        self._make = make
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._client: DownstreamConnection | None = None
        self._state = _ARRIVING
        self.deadline = NEVER
        self.exchange: Answers | None = None
        self._expects_preamble = proxy_protocol
        self._preamble = b""  # what has come of it
        self._source: str | None = None
        self._incoming: ssl.MemoryBIO = cast(ssl.MemoryBIO, None)
        self._outgoing: ssl.MemoryBIO = cast(ssl.MemoryBIO, None)
        self._object: ssl.SSLObject | None = None
        self._decrypt: Any = None
        self._encrypt: Any = None
        self._pending: Any = None
        self._cut = False  # OpenSSL has the beginning of a record
        self._paused = False

    def __repr__(self) -> str:
        return f"<TLS client, {('arriving', 'handshake', 'open', 'over')[self._state]}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        env = self.env
        maximum = env.limits.connections_max
        if maximum and len(env.connections) >= maximum:
            env.slots[env.counters.connections_accepted] += 1
            env.slots[env.counters.connections_refused] += 1
            self.abort()
            return
        env.connections.add(self)
        self.deadline = env.deadline_in(env.limits.header_timeout_s)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _OPEN:
            self._incoming.write(data)
            self._read()
        elif state == _HANDSHAKE:
            self._incoming.write(data)
            self._shake_hands()
        elif state == _ARRIVING:
            self._arrive(data)

    def _arrive(self, data: bytes) -> None:
        """The first bytes, and the preamble in front of them."""
        if self._expects_preamble:
            data = self._preamble + data
            try:
                found = read_preamble(data)
            except PreambleError as problem:
                log.info("a client of a TLS listener was refused: %s", problem)
                self.abort()
                return
            if found is None:
                self._preamble = data
                return
            self._source, end = found
            self._expects_preamble = False
            self._preamble = b""
            data = data[end:]
            if not data:
                return
        if data[0] == HANDSHAKE_RECORD:
            self._begin(data)
        else:
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        """It spoke plain HTTP: let the bare socket's connection tell it."""
        transport = self._transport
        self._state = _OVER
        self.env.connections.discard(self)
        client = self._make(plain=True, source=self._source)
        transport.set_protocol(cast(asyncio.BaseProtocol, client))
        client.connection_made(transport)
        client.data_received(data)

    def _begin(self, data: bytes) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # PERF: the class around OpenSSL's connection adds a call to each read and write, and nothing that is wanted here
        inner = getattr(self._object, "_sslobj", self._object)
        self._decrypt, self._encrypt, self._pending = inner.read, inner.write, inner.pending
        self._state = _HANDSHAKE
        self._incoming.write(data)
        self._shake_hands()

    def _shake_hands(self) -> None:
        assert self._object is not None
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except OSError as problem:
            self._failed(str(problem))
            self._flush()  # the alert that says why
            self._over()
            return
        self._state = _OPEN
        # at once, also where it is tickets alone: a client whose small writes wait for acknowledgements (Nagle) would wait 40 ms for one
        self._flush()
        self.env.connections.discard(self)
        client = self._client = self._make(plain=False, source=self._source)
        client.connection_made(cast(asyncio.BaseTransport, self))
        self._read()

    def _failed(self, why: str) -> None:
        env = self.env
        env.slots[env.counters.tls_failures] += 1
        log.info("TLS handshake with a client failed: %s", why)

    def _read(self) -> None:
        """Pass on what the records that have come say, each as it is decrypted, until the client's reading is paused."""
        incoming = self._incoming
        client = cast(DownstreamConnection, self._client)
        try:
            while self._state == _OPEN and not self._paused:
                count = incoming.pending + self._pending()
                if not count:
                    break
                # no record says more than it is long, but for its beginning that was taken in before
                data = self._decrypt(_RECORD if self._cut or count > _RECORD else count)
                self._cut = False
                if not data:
                    client.eof_received()
                    self.close()
                    return
                client.data_received(data)
        except ssl.SSLWantReadError:
            self._cut = True
        except ssl.SSLError as problem:
            log.info("a client's TLS connection failed: %s", problem)
            self._flush()
            self._over()
            return
        if self._outgoing.pending:
            self._flush()  # the answer to a key update

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._transport.write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Encrypt and send; what is written after the end is dropped."""
        if self._state != _OPEN:
            return
        size = len(data)
        try:
            if size <= _PIECE:
                self._encrypt(data)
                self._flush()
                return
            view = memoryview(data)
            for begin in range(0, size, _PIECE):
                self._encrypt(view[begin : begin + _PIECE])
                self._flush()
        except ssl.SSLError as problem:
            log.info("a client's TLS connection failed: %s", problem)
            self.abort()

    def close(self) -> None:
        """Say that this is the end, and close once everything has left."""
        if self._state == _OPEN:
            try:
                cast(ssl.SSLObject, self._object).unwrap()
            except OSError:
                pass  # the client has not said so yet, which is as it should be
            self._flush()
        self._over()

    def _over(self) -> None:
        self._state = _OVER
        self._transport.close()

    def abort(self) -> None:
        """Close now; what has not left is lost."""
        self._state = _OVER
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the end has begun."""
        return self._state == _OVER or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Nothing more is passed on until `resume_reading`."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on, with what is here already in the loop's next turn."""
        self._paused = False
        self._transport.resume_reading()
        if self._incoming.pending or self._pending():
            self.env.loop.call_soon(self._read)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of the socket's transport, which holds everything that waits."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes, encrypted, that wait for the client."""
        return self._transport.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        """TLS as spoken here has no half-close."""
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, and what the socket's transport knows."""
        if name == "ssl_object":
            return self._object
        return self._transport.get_extra_info(name, default)

    def pause_writing(self) -> None:
        if self._client is not None:
            self._client.pause_writing()

    def resume_writing(self) -> None:
        if self._client is not None:
            self._client.resume_writing()

    def eof_received(self) -> bool:
        # an end without close_notify: the connection is lost, not ended
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state == _HANDSHAKE:
            self._failed(str(exc) if exc else "the client left")
        self._state = _OVER
        self.env.connections.discard(self)
        client, self._client = self._client, None
        if client is not None:
            client.connection_lost(exc)

    def on_deadline(self) -> None:
        """The first byte or the handshake took too long, or what refuses it does not leave; called by the sweep."""
        self.deadline = NEVER
        if self._state == _HANDSHAKE:
            self._failed("it took too long")
        self.abort()

    def drain(self) -> None:
        """The node is going down: whoever has come may still ask, but soon."""
        self.deadline = min(self.deadline, self.env.deadline_in(DRAIN_GRACE_S))
