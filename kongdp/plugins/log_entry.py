"""One finished exchange as Kong's log plugins serialise it.

In: an exchange's view.  Out: a table for JSON. Authorization and Proxy-Authorization are REDACTED, as in Kong; so are (ours) the fields
and arguments under which any plugin of the configuration takes credentials.
Warm: once for each exchange with a log plugin. Source: spec of bundled plugins, section 5; Kong 3.9 pdk/log.lua.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from kongdp.plugins.base import ExchangeView, Node
from kongdp.plugins.entries import argument_table, entity, field_table, text

WORKSPACE_ID, WORKSPACE = "0dc6f45b-8f8d-40d2-a504-473544ee190b", "default"
REDACTED = "REDACTED"
SECRETS = ("authorization", "proxy-authorization")
SOURCES = ("kong", "upstream")


def log_entry(exchange: ExchangeView, node: Node) -> dict[str, Any]:
    """The entry; what does not apply is absent."""
    facts = exchange.facts
    request_ms = int((monotonic() - facts.started) * 1000)
    proxied = facts.upstream_ms >= 0
    entry: dict[str, Any] = {
        "request": _request(exchange),
        "response": {
            "status": facts.status,
            "headers": field_table(exchange.response_fields),
            "size": facts.bytes_out,
        },
        "latencies": {
            "kong": facts.proxy_ms,
            "proxy": facts.upstream_ms,
            "request": request_ms,
            "receive": max(0, request_ms - facts.proxy_ms - max(0, facts.upstream_ms)),
        },
        "tries": exchange.tries,
        "client_ip": exchange.client_ip,
        "started_at": int(node.wall() * 1000) - request_ms,
        "source": SOURCES[facts.source],
        "workspace": WORKSPACE_ID,
        "workspace_name": WORKSPACE,
        "upstream_uri": text(_hidden(exchange, exchange.upstream_path, exchange.query)),
    }
    if proxied:
        entry["upstream_status"] = str(facts.status)
    for name, value in (("route", exchange.route), ("service", exchange.service), ("consumer", exchange.consumer)):
        if value is not None:
            entry[name] = entity(value)
    credential = exchange.credential
    if credential is not None:
        entry["authenticated_entity"] = {"id": credential.id, "consumer_id": credential.consumer_id}
    if "correlation_id" in exchange.notes:
        entry["correlation_id"] = text(exchange.notes["correlation_id"])
    return entry


def _hidden(exchange: ExchangeView, path: bytes, query: bytes) -> bytes:
    """Path and query without the values of credentials."""
    return exchange.secrets.redaction.url(path + b"?" + query) if query else path


def _request(exchange: ExchangeView) -> dict[str, Any]:
    target = exchange.secrets.redaction.url(exchange.target)
    uri = text(target)
    scheme = exchange.scheme.decode()
    headers = field_table(exchange.request_fields)
    for name in (*SECRETS, *map(text, exchange.secrets.names)):
        if name in headers:
            headers[name] = REDACTED
    shown: dict[str, Any] = {
        "id": exchange.request_id.decode(),
        "method": text(exchange.method),
        "uri": uri,
        "url": f"{scheme}://{text(exchange.host)}:{exchange.port}{uri}",
        "querystring": argument_table(target.partition(b"?")[2]),
        "headers": headers,
        "size": exchange.facts.bytes_in,
    }
    if exchange.tls is not None:
        shown["tls"] = exchange.tls
    return shown
