"""Opening connections: TCP, then TLS, under one deadline.

In: an endpoint and a protocol factory.  Out: a connected protocol, or a DialError that says which phase failed and whether time ran out.
Warm: one task for each new connection, never one for a request.
Source: Kong's proxying contract, section 3 (connect_timeout covers TCP and TLS handshake) and section 9.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from kongdp.certs.contexts import CertificateError, ResumingContext, count_issuers, issuers_max
from kongdp.errors import KongdpError, Source
from kongdp.upstream.pool import Endpoint, TlsIdentity

P = TypeVar("P")
"""A protocol by its methods alone: a compiled class has no Python base, so the loop's own type for it does not fit."""

VERIFY_DEPTH = 1
"""Intermediate certificates allowed where a service says nothing: nginx's proxy_ssl_verify_depth."""


class DialError(KongdpError):
    """No connection came about; nothing was sent, so another try is always safe. `timed_out` decides between 502 and 504."""

    source = Source.UPSTREAM

    def __init__(self, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(detail)
        self.timed_out = timed_out


class Dialer:
    """Dials endpoints; `context_for` builds (and caches) the TLS context of an identity."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context_for: Callable[[TlsIdentity], ResumingContext]) -> None:
        self._loop = loop
        self._context_for = context_for
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, dialling: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that dials; the loop alone would not keep it alive."""
        task = self._loop.create_task(dialling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def dial(self, endpoint: Endpoint, factory: Callable[[], P], timeout_s: float) -> P:
        """Connect to the endpoint within `timeout_s` seconds. Raises DialError."""
        try:
            async with asyncio.timeout(timeout_s):
                if endpoint.tls is None:
                    connected = await self._loop.create_connection(cast(Any, factory), endpoint.address, endpoint.port)
                    protocol = cast(P, connected[1])
                else:
                    protocol = await self._dial_tls(endpoint, endpoint.tls, factory, timeout_s)
        except TimeoutError:
            raise DialError(f"no connection within {timeout_s:g} s", timed_out=True) from None
        except ssl.SSLError as problem:
            raise DialError(f"TLS handshake failed: {problem.reason or problem}") from None
        except OSError as problem:
            raise DialError(f"connecting failed: {problem.strerror or problem}") from None
        except CertificateError as problem:
            raise DialError(f"TLS cannot be set up: {problem}") from None
        except ValueError as problem:
            # the server name may be a client's Host (preserve_host): the ssl module refuses empty labels and long ones
            raise DialError(f"server name {endpoint.tls and endpoint.tls.server_name!r}: {problem}") from None
        return protocol

    async def _dial_tls(self, endpoint: Endpoint, tls: TlsIdentity, factory: Callable[[], P], timeout_s: float) -> P:
        context = self._context_for(tls)
        transport, protocol = await self._loop.create_connection(
            cast(Any, factory),
            endpoint.address,
            endpoint.port,
            ssl=context,
            # an address goes into no SNI, but it is what a verified certificate must name
            server_hostname=tls.server_name or endpoint.address,
            # the deadline around this call comes first and says "timed out" in our words
            ssl_handshake_timeout=timeout_s + 1,
        )
        session = transport.get_extra_info("ssl_object")
        # a resumed session shows no chain: the depth was checked when it began
        if session.context.verify_mode is ssl.CERT_REQUIRED:
            depth = VERIFY_DEPTH if tls.verify_depth is None else tls.verify_depth
            found = count_issuers(session)
            if found is not None and found > issuers_max(depth):
                transport.abort()
                raise DialError(
                    f"certificate chain has {found} issuers; verify depth {depth} allows {issuers_max(depth)}"
                )
        context.remember(session)
        return cast(P, protocol)
