"""The request head for the upstream: request line, Host, forwarded fields, and the client's lines as they came.

In: an exchange that has its route plan and destination.  Out: one bytes object.
Hot: a join of about ten pieces, most of them rendered when the configuration or the connection was made.
Source: Kong's proxying contract, sections 1 and 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kongdp._join import join
from kongdp.proxy.plan import RoutePlan
from kongdp.upstream.destination import Destination

if TYPE_CHECKING:
    from kongdp.proxy.answers import Answers

_HTTP_1_1 = b" HTTP/1.1\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
_UPGRADE = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
_TRAILERS = b"TE: trailers\r\n"
_REQUEST_ID = b"X-Kong-Request-Id: "
_END = b"\r\n"


def effective_host(host: bytes) -> bytes | None:
    """nginx's $host: the Host value (or the authority of an absolute target) in lower case, without its port and the dot that may
    end it. None for a name with an empty label, which nginx refuses.
    """
    name = host.lower()
    if name[:1] == b"[":
        return name[: name.find(b"]") + 1]
    cut = name.find(b":")
    if cut >= 0:
        name = name[:cut]
    if name[-1:] != b".":
        return None if b".." in name else name
    return None if name == b"." or b".." in name else name[:-1]


def request_head(exchange: Answers, plan: RoutePlan, destination: Destination, framing: bytes = b"") -> bytes:
    """The head to send. `framing` is the line that frames the body, empty for a request without one."""
    head = exchange.head
    env = exchange.env
    stamps = env.stamps
    way = exchange.way
    assert way is not None
    kept = head.kept
    run = exchange.plugins
    if run is not None:
        kept = run.kept
    if run is not None and run.host_line:
        host_line = run.host_line
    elif plan.preserve_host and head.host:
        host_line = b"Host: %b\r\n" % head.host
    else:
        host_line = destination.host_line
    if not framing and head.content_length == 0:
        framing = b"Content-Length: 0\r\n"
    via = stamps.request_via
    if not head.minor:
        via = via.replace(b"1.1", b"1.0", 1)
    if head.via is not None:
        via = b"Via: %b, %b" % (head.via, via[5:]) if via else b"Via: %b\r\n" % head.via
    address = exchange.client.address
    # PERF: pieces of the join instead of lines formatted for them
    if head.forwarded_for is None and not address.trusted:
        forwarded, path, after_path = address.lines_to_path(exchange.host), exchange.raw_path, way.prefix_lines
    else:
        forwarded = address.forwarded_lines(head, exchange.host, exchange.raw_path, way.prefix, env.trust)
        path = after_path = b""
    identity = exchange.request_id if stamps.request_id_upstream else head.request_id
    return join(
        (
            exchange.method,
            b" ",
            exchange.upstream_path,
            _HTTP_1_1,
            host_line,
            _UPGRADE if head.websocket else _KEEP_ALIVE,
            forwarded,
            path,
            after_path,
            via,
            _REQUEST_ID if identity else b"",
            identity or b"",
            _END if identity else b"",
            _TRAILERS if head.te_trailers else b"",
            kept,
            framing,
            _END,
        )
    )
