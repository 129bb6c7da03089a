"""A TLS listener that looks at the first byte before it shakes hands.

In: a listening socket, a TLS context, a maker of connections.  Out: DownstreamConnections, over TLS or, for who spoke plain HTTP, over
the bare socket so that they can be told (Kong: 400 with nginx's words for it). With `proxy_protocol` the preamble, which comes before
the handshake, is read first.
House rules: nothing of the handshake is consumed here: the first byte is peeked at, of a preamble exactly its own bytes are taken. What
waits for its first byte counts as a connection, and has the deadline of a head.
Warm: once per connection; about 50 us beside a handshake's millisecond.
Source: ours; the event loop's own TLS server closes without a word when the client does not speak TLS.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any, Protocol, cast

from kongdp.proxy.downstream import DownstreamConnection
from kongdp.proxy.environment import Environment
from kongdp.proxy.proxy_protocol import PREAMBLE_BYTES_MAX, PreambleError, read_preamble

log = logging.getLogger(__name__)

HANDSHAKE_RECORD = 0x16
"""First byte of every TLS connection: a record of type handshake (RFC 8446 section 5.1)."""

ACCEPTS_PER_TURN = 64
ACCEPT_PAUSE_S = 0.1
"""How long to leave the queue alone when the process is out of file descriptors."""


class ConnectionMaker(Protocol):
    """Makes the protocol of one client. `plain`: it spoke plain HTTP; `source`: the client a PROXY preamble named."""

    def __call__(self, *, plain: bool, source: str | None) -> DownstreamConnection: ...


class TlsListener:
    """Accepts on `sock` until `close`; what was accepted goes on after that."""

    def __init__(
        self,
        env: Environment,
        sock: socket.socket,
        context: ssl.SSLContext,
        make: ConnectionMaker,
        *,
        backlog: int = 16384,
        proxy_protocol: bool = False,
    ) -> None:
        self._env = env
        self._sock = sock
        self._context = context
        self._make = make
        self._proxy_protocol = proxy_protocol
        self._arrivals: set[_Arrival] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        sock.setblocking(False)
        sock.listen(backlog)
        env.loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more."""
        if not self._closed:
            self._closed = True
            self._env.loop.remove_reader(self._sock.fileno())
            self._sock.close()

    @property
    def count_arriving(self) -> int:
        """Clients that have not finished their handshake."""
        return len(self._arrivals) + len(self._tasks)

    def _accept(self) -> None:
        env = self._env
        for _ in range(ACCEPTS_PER_TURN):
            try:
                client, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as problem:
                log.error("cannot accept: %s", problem.strerror)
                env.loop.remove_reader(self._sock.fileno())
                env.loop.call_later(ACCEPT_PAUSE_S, self._accept_again)
                return
            maximum = env.limits.connections_max
            if maximum and len(env.connections) + self.count_arriving >= maximum:
                env.slots[env.counters.connections_accepted] += 1
                env.slots[env.counters.connections_refused] += 1
                client.close()
                continue
            client.setblocking(False)
            self._arrivals.add(_Arrival(env, client, self))

    def _accept_again(self) -> None:
        if not self._closed:
            self._env.loop.add_reader(self._sock.fileno(), self._accept)

    def _arrived(self, arrival: _Arrival, client: socket.socket, first: int, source: str | None) -> None:
        """The first byte is here: go on over TLS, or tell the client that it should have."""
        self._arrivals.discard(arrival)
        task = self._env.loop.create_task(self._open(client, first == HANDSHAKE_RECORD, source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _departed(self, arrival: _Arrival) -> None:
        self._arrivals.discard(arrival)

    async def _open(self, client: socket.socket, speaks_tls: bool, source: str | None) -> None:
        env = self._env
        timeout_s = env.limits.header_timeout_s
        try:
            await env.loop.connect_accepted_socket(
                cast(Any, lambda: self._make(plain=not speaks_tls, source=source)),
                client,
                ssl=self._context if speaks_tls else None,
                ssl_handshake_timeout=timeout_s if speaks_tls else None,
            )
        except (OSError, ssl.SSLError) as problem:
            env.slots[env.counters.tls_failures] += 1
            log.info("TLS handshake with a client failed: %s", problem)
            client.close()

    @property
    def reads_preambles(self) -> bool:
        """Whether a PROXY preamble comes first on this listener."""
        return self._proxy_protocol


class _Arrival:
    """A client of whom nothing is known yet: its preamble, then its first byte."""

    __slots__ = ("_client", "_env", "_held", "_listener", "_source", "_timer", "_wants_preamble")

    def __init__(self, env: Environment, client: socket.socket, listener: TlsListener) -> None:
        self._env = env
        self._client = client
        self._listener = listener
        self._held = b""
        self._source: str | None = None
        self._wants_preamble = listener.reads_preambles
        # a timer of its own: the sweep knows only connections, and this one is not one yet
        self._timer = env.loop.call_later(env.limits.header_timeout_s, self._leave)
        env.loop.add_reader(client.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            if self._wants_preamble and not self._read_preamble():
                return
            first = self._client.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except (OSError, PreambleError) as problem:
            log.info("a client of a TLS listener left or was refused: %s", problem)
            self._leave()
            return
        if not first:
            self._leave()
            return
        self._stop()
        self._listener._arrived(self, self._client, first[0], self._source)

    def _read_preamble(self) -> bool:
        """Take the preamble's bytes and no other; False until it is whole. Raises PreambleError, OSError."""
        peeked = self._client.recv(PREAMBLE_BYTES_MAX, socket.MSG_PEEK)
        if not peeked:
            raise PreambleError("left before the preamble was whole")
        found = read_preamble(self._held + peeked)
        if found is None:
            # all of it belongs to the preamble: consumed, or the socket would stay readable and the loop spin
            self._held += self._client.recv(len(peeked))
            return False
        self._source, end = found
        self._client.recv(end - len(self._held))
        self._wants_preamble = False
        return True

    def _stop(self) -> None:
        self._timer.cancel()
        self._env.loop.remove_reader(self._client.fileno())

    def _leave(self) -> None:
        self._stop()
        self._client.close()
        self._listener._departed(self)
