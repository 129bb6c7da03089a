"""A gateway behind a TLS listener, as a worker wires it: certificates of the snapshot chosen by name, a default beside them."""

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from kongdp.certs.contexts import ServerOptions, server_context, server_options
from kongdp.certs.store import CertificateStore, install
from kongdp.proxy.downstream import DownstreamConnection
from kongdp.proxy.tls_connection import TlsConnection
from tests.support.certificates import Made, make
from tests.support.gateway import Gateway, running_gateway

OPTIONS = server_options("intermediate")
DEFAULT = make("default", names=("default.test",))


class TlsGateway:
    """`gateway` serves on `port` over TLS; `show` puts certificates in force: name -> certificate."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway = gateway
        self.port = port

    def show(self, by_name: Mapping[str, Made], options: ServerOptions = OPTIONS) -> None:
        """Swap the certificate store, as a snapshot swap does."""
        snapshot = self.gateway.env.snapshot
        certificates = [_Row(name, made) for name, made in by_name.items()]
        snapshot.certificates = CertificateStore.build(certificates, certificates, options, snapshot.certificates)


class _Row:
    """A certificate and the SNI row that names it, in one."""

    def __init__(self, name: str, made: Made) -> None:
        self.id = self.certificate_id = self.name = name
        self.cert, self.key = made.pem.decode(), made.key_pem.decode()
        self.cert_alt = self.key_alt = None


@asynccontextmanager
async def running_tls_gateway(
    config: Mapping[str, Any], *, proxy_protocol: bool = False, options: Any = OPTIONS, **rest: Any
) -> AsyncIterator[TlsGateway]:
    """A gateway serving `config` over TLS until the block ends."""
    async with running_gateway(config, **rest) as gateway:
        env = gateway.env
        context = server_context([DEFAULT.pair], options)
        install(context, lambda: env.snapshot.certificates)
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]

        def connection(*, plain: bool, source: str | None) -> DownstreamConnection:
            return DownstreamConnection(env, b"http" if plain else b"https", port, source=source, misplaced=plain)

        factory = functools.partial(TlsConnection, env, context, connection, proxy_protocol=proxy_protocol)
        # typeshed asks for asyncio.Protocol by name; ours is one by its methods
        server = await asyncio.get_running_loop().create_server(cast(Any, factory), sock=sock)
        try:
            yield TlsGateway(gateway, port)
        finally:
            server.close()


def client_context(*authorities: Made, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
    """A client that verifies against `authorities`, or nothing without any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = minimum
    if not authorities:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for authority in authorities:
        context.load_verify_locations(cadata=authority.pem.decode())
    return context
