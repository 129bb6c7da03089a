"""A TLS handshake in memory: two contexts, no socket, no loop."""

import ssl
from dataclasses import dataclass

from kongdp.certs.contexts import count_issuers


@dataclass(frozen=True)
class Seen:
    """What both sides agreed on; `certificate` is the server's as DER (None when the client did not verify)."""

    version: str
    cipher: str
    alpn: str | None
    server_name: str | None
    certificate: bytes | None
    issuers: int | None


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> Seen:
    """Connect `client` asking for `name` to `server`. Raises what the first failing side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [near, far]
    for _ in range(10):
        for side in tuple(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                pass
        if not pending:
            cipher = near.cipher()
            assert cipher is not None
            return Seen(
                version=near.version() or "",
                cipher=cipher[0],
                alpn=near.selected_alpn_protocol(),
                server_name=getattr(far, "kongdp_requested_name", name),
                certificate=near.getpeercert(binary_form=True),
                issuers=count_issuers(near),
            )
    raise AssertionError("the handshake does not end")
