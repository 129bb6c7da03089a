"""A Redis server as rate limits need one: a few commands in one write, their replies, on pooled connections.

In: commands (tuples of bytes).  Out: replies: bytes, int, None, or list.  Errors of the server, of the line and of time are RedisError.
House rules: every step has the configured timeout; a connection that failed in any way is closed, never given back; idle ones are
bounded. Forty lines of protocol instead of a package, because a worker should not carry a client for the other two hundred commands.
Warm: for routes with rate limits of policy redis. Source: RESP 2 (redis.io/docs/reference/protocol-spec).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kongdp.errors import KongdpError, Source

Command = tuple[bytes, ...]
Reply = Any

IDLE_MAX = 30
"""Connections kept for later, for each server and worker (Kong's keepalive pool)."""


class RedisError(KongdpError):
    """No answer that can be used; the message says why."""

    source = Source.UPSTREAM


@dataclass(frozen=True, slots=True)
class RedisServer:
    """Where and as whom. `timeout_s` is for each step: connecting, sending, receiving."""

    host: str
    port: int = 6379
    timeout_s: float = 2.0
    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: bool = False
    verifies: bool = False
    server_name: str | None = None

    def greeting(self) -> list[Command]:
        """What a new connection says first."""
        commands: list[Command] = []
        if self.password:
            who = (self.username.encode(),) if self.username else ()
            commands.append((b"AUTH", *who, self.password.encode()))
        if self.database:
            commands.append((b"SELECT", b"%d" % self.database))
        return commands

    def context(self) -> ssl.SSLContext | None:
        """For TLS, None without."""
        if not self.tls:
            return None
        context = ssl.create_default_context()
        if not self.verifies:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Redis:
    """Connections to one server."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._idle: list[_Connection] = []
        self._is_closed = False

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to these commands, in order. Raises RedisError."""
        server = self._server
        connection = self._idle.pop() if self._idle else None
        try:
            if connection is not None and connection.is_stale:
                connection.close()
                connection = None
            if connection is None:
                connection = await self._connect()
            replies = await connection.ask(commands, server.timeout_s)
        except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError, RedisError) as problem:
            if connection is not None:
                connection.close()
            if isinstance(problem, RedisError):
                raise
            why = "no answer in time" if isinstance(problem, TimeoutError) else str(problem)
            raise RedisError(f"{server.host}:{server.port}: {why}") from None
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if len(self._idle) < IDLE_MAX and not self._is_closed:
            self._idle.append(connection)
        else:
            connection.close()
        return replies

    async def _connect(self) -> _Connection:
        server = self._server
        context = server.context()
        name = (server.server_name or server.host) if context is not None else None
        async with asyncio.timeout(server.timeout_s):
            reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context, server_hostname=name)
        connection = _Connection(reader, writer)
        try:
            await connection.ask(server.greeting(), server.timeout_s)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close what is idle, and what becomes idle later."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()


class _Connection:
    """One connection: commands out, replies in, in order."""

    __slots__ = ("_reader", "_writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_stale(self) -> bool:
        """Whether the server has closed it while it was idle."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def ask(self, commands: Sequence[Command], timeout_s: float) -> list[Reply]:
        if not commands:
            return []
        self._writer.write(b"".join(map(_encoded, commands)))
        async with asyncio.timeout(timeout_s):
            replies = [await self._reply() for _ in commands]
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def _reply(self) -> Reply:
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RedisError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else (await self._reader.readexactly(length + 2))[:-2]
        raise ValueError(f"a reply that is none: {line[:40]!r}")

    def close(self) -> None:
        self._writer.close()


def _encoded(command: Command) -> bytes:
    parts = b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in command])
    return b"*%d\r\n%b" % (len(command), parts)
