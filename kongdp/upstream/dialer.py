"""Opening connections: TCP, then TLS, under one deadline.

In: an endpoint and a protocol factory.  Out: a connected protocol, or a DialError that says which phase failed and whether time ran out.
Warm: one task for each new connection, never one for a request.
Source: Kong's proxying contract, section 3 (connect_timeout covers TCP and TLS handshake) and section 9.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from kongdp.errors import KongdpError, Source
from kongdp.upstream.pool import Endpoint, TlsIdentity

P = TypeVar("P", bound=asyncio.Protocol)


class DialError(KongdpError):
    """No connection came about; nothing was sent, so another try is always safe. `timed_out` decides between 502 and 504."""

    source = Source.UPSTREAM

    def __init__(self, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(detail)
        self.timed_out = timed_out


class Dialer:
    """Dials endpoints; `context_for` builds (and caches) the TLS context of an identity."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context_for: Callable[[TlsIdentity], ssl.SSLContext]) -> None:
        self._loop = loop
        self._context_for = context_for

    async def dial(self, endpoint: Endpoint, factory: Callable[[], P], timeout_s: float) -> P:
        """Connect to the endpoint within `timeout_s` seconds. Raises DialError."""
        tls = endpoint.tls
        try:
            async with asyncio.timeout(timeout_s):
                if tls is None:
                    _, protocol = await self._loop.create_connection(factory, endpoint.address, endpoint.port)
                else:
                    _, protocol = await self._loop.create_connection(
                        factory,
                        endpoint.address,
                        endpoint.port,
                        ssl=self._context_for(tls),
                        server_hostname=tls.server_name or "",
                        ssl_handshake_timeout=timeout_s,
                    )
        except TimeoutError:
            raise DialError(f"no connection within {timeout_s:g} s", timed_out=True) from None
        except ssl.SSLError as problem:
            raise DialError(f"TLS handshake failed: {problem.reason or problem}") from None
        except OSError as problem:
            raise DialError(f"connecting failed: {problem.strerror or problem}") from None
        return protocol
