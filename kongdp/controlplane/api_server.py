"""One uvicorn server as a part of the control plane: begun, awaited until it answers, ended.

In: a loaded uvicorn.Config and listening sockets.  Out: StartError with the reason when it does not come up.
House rules: signals are the process's, not a server's; uvicorn's way out of a failed start (SystemExit in a task, which would end
the loop around everybody) stops here. Cold.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from kongdp.errors import KongdpError, Source

POLL_INTERVAL_S = 0.01  # uvicorn has a flag and no event for "started"


class StartError(KongdpError):
    """The control plane cannot start; the message has a line for each reason."""

    source = Source.OPERATOR


class ApiServer(uvicorn.Server):
    """Serves from its making on, in a task of its own: `serving`."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config)
        self._places = ", ".join(map(_place, sockets))
        self.serving = asyncio.create_task(self._serve_until_stopped(sockets))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def until_started(self) -> None:
        """Wait until requests are answered. Raises StartError when that will not be."""
        while not self.started:
            done, _ = await asyncio.wait([self.serving], timeout=POLL_INTERVAL_S)
            if done:
                reason = self.serving.exception() or "it was told to end"
                raise StartError(f"cannot serve on {self._places}: {reason}")

    async def _serve_until_stopped(self, sockets: list[socket.socket]) -> None:
        try:
            await self.serve(sockets=sockets)
        except SystemExit:
            raise StartError("the application did not start; the reason is logged above") from None


def _place(sock: socket.socket) -> str:
    name = sock.getsockname()
    return f"{name[0]} port {name[1]}" if isinstance(name, tuple) else str(name)
