"""Serves the agent's small HTTP APIs (status, admin) on the sockets that the supervisor hands down.

In: ASGI applications and listener descriptions of the spec.  Out: running uvicorn servers.
House rules: signals stay the agent's (uvicorn would take them); a socket begins to listen here, so that an address
refuses connections until somebody is there. The Server field is the application's.
Cold. Source: ours.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp

log = logging.getLogger("kongdp.agent")

STOP_S = 1.0
"""How long requests in flight may take when the agent ends."""


class ServeError(Exception):
    """An API cannot be served."""


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiServer:
    """One application on all addresses of one setting."""

    def __init__(
        self, application: ASGIApp, listeners: Sequence[Mapping[str, Any]], tls: ssl.SSLContext | None, name: str
    ) -> None:
        """`listeners`: entries of the spec; `tls`: for those with the flag ssl."""
        self._name = name
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets: list[list[socket.socket]] = []
        for uses_tls in (False, True):
            sockets = [_socket(entry) for entry in listeners if bool(entry["ssl"]) is uses_tls]
            if sockets:
                self._servers.append(_Server(_config(application, tls if uses_tls else None)))
                self._sockets.append(sockets)

    async def start(self) -> None:
        """Listen; returns when every address accepts. Raises ServeError."""
        for server, sockets in zip(self._servers, self._sockets, strict=True):
            task = asyncio.create_task(server.serve(sockets), name=f"{self._name} API")
            self._tasks.append(task)
            while not server.started:
                if task.done():
                    raise ServeError(f"the {self._name} API cannot be served: {task.exception() or 'it ended at once'}")
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop listening and wait a moment for requests in flight."""
        for server in self._servers:
            server.should_exit = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _config(application: ASGIApp, tls: ssl.SSLContext | None) -> uvicorn.Config:
    config = uvicorn.Config(
        application,
        http="kongdp.adminapi.protocol:LimitedProtocol",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=1,
    )
    config.load()
    config.ssl = tls
    return config


def _socket(entry: Mapping[str, Any]) -> socket.socket:
    made = socket.socket(fileno=entry["fd"])
    made.setblocking(False)
    return made
