"""From node settings to the values a worker's rooms take; the rooms themselves read no setting.

In: Settings.  Out: limits, stamps, trust, pages, TLS contexts.  Cold: once per worker life.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kongdp import __version__
from kongdp.certs.contexts import (
    Pair,
    ResumingContext,
    ServerOptions,
    server_context,
    server_options,
    upstream_client_context,
)
from kongdp.http1.parser import HeadLimits
from kongdp.plugins.rates import SharedRates, private_rates
from kongdp.proxy.addresses import Trust
from kongdp.proxy.environment import Limits
from kongdp.proxy.failures import RetryRules
from kongdp.proxy.respond import HTML, JSON, PLAIN, TEMPLATES, XML, ErrorPages, Stamps
from kongdp.proxy.spill import SpillStore
from kongdp.settings import Settings
from kongdp.upstream.pool import PoolLimits, TlsIdentity
from kongdp.upstream.resolver import ResolverLimits

log = logging.getLogger("kongdp.worker")

_PRODUCT = f"kongdp/{__version__}"
_LATENCY_FIELDS = ("x-kong-upstream-latency", "x-kong-proxy-latency", "x-kong-response-latency")

CLIENT_VERIFICATION = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "on": ssl.CERT_REQUIRED}
"""What nginx's ssl_verify_client says. A client that fails it ends in the handshake; nginx lets it in and answers 400."""

CONTEXTS_MAX = 4096
"""TLS contexts towards upstreams kept; each holds its trust store, about 50 KiB."""


def core_of(affinity: str, index: int, usable: Iterable[int]) -> int | None:
    """The core that worker `index` is bound to (kongdp_worker_cpu_affinity), or None for any. `usable`: those of the node."""
    if affinity == "off":
        return None
    cores = sorted(usable) if affinity == "auto" else [int(core) for core in affinity.split(",")]
    return cores[index % len(cores)]


def bind_to_core(settings: Settings, index: int) -> None:
    """Bind this thread, and all that it starts from now on, to its core. A core that cannot be had is no reason not to serve."""
    affinity = settings.kongdp_worker_cpu_affinity
    if affinity == "off":
        return
    if not hasattr(os, "sched_setaffinity"):
        log.warning("kongdp_worker_cpu_affinity = %s has no effect: this system does not bind processes", affinity)
        return
    core = core_of(affinity, index, os.sched_getaffinity(0))
    assert core is not None
    try:
        os.sched_setaffinity(0, {core})
    except (OSError, OverflowError) as problem:
        log.warning(
            "cannot bind worker %d to core %d (kongdp_worker_cpu_affinity = %s): %s", index, core, affinity, problem
        )


def limits(settings: Settings) -> Limits:
    """Bounds of client connections and bodies."""
    heads = settings.nginx_http_large_client_header_buffers
    stream, whole = settings.kongdp_stream_buffer_bytes_max, settings.kongdp_body_buffer_bytes_max
    return Limits(
        head=HeadLimits(
            line_bytes_max=heads.size,
            field_bytes_max=heads.size,
            head_bytes_max=heads.number * heads.size,
            fields_max=settings.kongdp_head_fields_max,
        ),
        body_bytes_max=settings.nginx_http_client_max_body_size,
        body_buffer_bytes=whole if settings.nginx_proxy_proxy_request_buffering else stream,
        response_buffer_bytes=whole if settings.nginx_proxy_proxy_buffering else stream,
        stream_buffer_bytes=stream,
        pipeline_bytes_max=settings.kongdp_pipeline_bytes_max,
        linger_bytes_max=settings.kongdp_linger_bytes_max,
        linger_s=settings.nginx_http_lingering_timeout,
        linger_total_s=settings.nginx_http_lingering_time,
        upstream_head_bytes_max=settings.kongdp_upstream_head_bytes_max,
        header_timeout_s=settings.nginx_http_client_header_timeout,
        body_timeout_s=settings.nginx_http_client_body_timeout,
        send_timeout_s=settings.nginx_http_send_timeout,
        keepalive_timeout_s=settings.nginx_http_keepalive_timeout,
        keepalive_requests=settings.nginx_http_keepalive_requests if settings.nginx_http_keepalive_timeout else 1,
        connections_max=settings.kongdp_connections_max or 0,
    )


def retry_rules(settings: Settings) -> RetryRules:
    """What may be tried again."""
    return RetryRules.read(settings.nginx_proxy_proxy_next_upstream, settings.nginx_proxy_proxy_next_upstream_tries)


def spill_store(settings: Settings, loop: asyncio.AbstractEventLoop) -> SpillStore | None:
    """Where bodies go that outgrow memory; None: nowhere."""
    bytes_max = settings.kongdp_body_spill_bytes_max
    return SpillStore(loop, Path(settings.prefix) / "spill", bytes_max) if bytes_max else None


def pool_limits(settings: Settings) -> PoolLimits:
    """Bounds of upstream pools."""
    return PoolLimits(
        idle_max=settings.upstream_keepalive_pool_size,
        requests_max=settings.upstream_keepalive_max_requests,
        idle_timeout_s=settings.upstream_keepalive_idle_timeout,
        connections_max=settings.kongdp_upstream_connections_max,
        waiters_max=settings.kongdp_upstream_waiters_max,
    )


def resolver_limits(settings: Settings) -> ResolverLimits:
    """How long answers of the resolver live."""
    return ResolverLimits(
        valid_ttl_s=30.0 if settings.dns_valid_ttl is None else settings.dns_valid_ttl,
        stale_ttl_s=settings.dns_stale_ttl,
        not_found_ttl_s=settings.dns_not_found_ttl,
        error_ttl_s=settings.dns_error_ttl,
        names_max=settings.dns_cache_size,
    )


def stamps(settings: Settings) -> Stamps:
    """Which fields the gateway adds (settings headers and headers_upstream)."""
    named = [name.lower() for name in settings.headers]
    if named[:1] == ["off"]:
        named = []
    tokens = "server_tokens" in named
    latencies = "latency_tokens" in named
    server = tokens or "server" in named
    via = tokens or "via" in named
    product = _PRODUCT.encode()
    return Stamps(
        server=b"Server: %b\r\n" % product if server else b"",
        via=b"Via: 1.1 %b\r\n" % product if via else b"",
        via_value=b"1.1 " + product,
        request_via=b"Via: 1.1 %b\r\n" % product,
        upstream_latency=latencies or _LATENCY_FIELDS[0] in named,
        proxy_latency=latencies or _LATENCY_FIELDS[1] in named,
        response_latency=latencies or _LATENCY_FIELDS[2] in named,
        upstream_status="x-kong-upstream-status" in named,
        request_id="x-kong-request-id" in named,
        request_id_upstream="off" not in (name.lower() for name in settings.headers_upstream),
    )


def trust(settings: Settings) -> Trust:
    """Whose claims about clients are believed."""
    return Trust.build(settings.trusted_ips, settings.real_ip_header, recursive=settings.real_ip_recursive)


def error_pages(settings: Settings) -> ErrorPages:
    """Bodies of the gateway's own errors."""
    own = {
        JSON: settings.error_template_json,
        HTML: settings.error_template_html,
        XML: settings.error_template_xml,
        PLAIN: settings.error_template_plain,
    }
    return ErrorPages(settings.error_default_type, {**TEMPLATES, **{name: text for name, text in own.items() if text}})


def rates(spec: Mapping[str, Any]) -> SharedRates:
    """The counts of rate limits that the node's workers share; this worker writes the lane of its counter segment's number."""
    lane, lanes = spec["segment_index"], spec["rate_lanes"]
    memory = mmap.mmap(spec["rates_fd"], 0)
    if lane < lanes:
        return SharedRates(memoryview(memory), lanes, lane)
    log.warning("more workers than at the node's start: rate limits of this one are counted apart until the next start")
    return private_rates(len(memory) // lanes)


def charset(settings: Settings) -> bytes | None:
    """The charset appended to text types, or None."""
    value = settings.nginx_http_charset
    return None if value.lower() == "off" else value.encode()


def shown_port(settings: Settings, port: int) -> int:
    """The port clients see for a listener's port (port_maps: external:internal)."""
    return next((external for external, internal in settings.port_maps if internal == port), port)


def tls_defaults(settings: Settings) -> TlsIdentity:
    """What counts towards TLS upstreams whose service does not say; the node's own client certificate among it."""
    own = settings.client_ssl and settings.client_ssl_cert and settings.client_ssl_cert_key
    return TlsIdentity(
        server_name=None,
        verify=settings.nginx_proxy_proxy_ssl_verify,
        verify_depth=settings.nginx_proxy_proxy_ssl_verify_depth,
        trust=settings.nginx_proxy_proxy_ssl_trusted_certificate or "",
        client_certificate=f"{settings.client_ssl_cert}\n{settings.client_ssl_cert_key}" if own else "",
    )


def tls_options(settings: Settings) -> ServerOptions:
    """How TLS listeners speak."""
    return server_options(
        settings.ssl_cipher_suite,
        protocols=settings.ssl_protocols,
        ciphers=settings.ssl_ciphers,
        prefers_server_ciphers=settings.ssl_prefer_server_ciphers,
        session_tickets=settings.ssl_session_tickets,
        dh_params=settings.ssl_dhparam.encode() if settings.ssl_dhparam else None,
        verifies_client=CLIENT_VERIFICATION[settings.nginx_http_ssl_verify_client],
        client_anchors=settings.nginx_http_ssl_client_certificate,
    )


def default_tls_context(settings: Settings, prefix: str, options: ServerOptions) -> ssl.SSLContext | None:
    """The context with the default certificate, or None when no listener speaks TLS.

    Without ssl_cert it is the self-signed pair that the node keeps under its prefix. Raises CertificateError.
    """
    if not any(listener.ssl for listener in settings.proxy_listen):
        return None
    if settings.ssl_cert:
        pairs = [
            Pair(cert.encode(), key.encode())
            for cert, key in zip(settings.ssl_cert, settings.ssl_cert_key, strict=True)
        ]
    else:
        pairs = read_default_pairs(Path(prefix) / "ssl")
    return server_context(pairs, options)


def read_default_pairs(directory: Path) -> list[Pair]:
    """The self-signed pairs (RSA and ECDSA) that the agent made before the first worker started."""
    names = ("kong-default", "kong-default-ecdsa")
    return [
        Pair((directory / f"{name}.crt").read_bytes(), (directory / f"{name}.key").read_bytes())
        for name in names
        if (directory / f"{name}.crt").exists()
    ]


class UpstreamContexts:
    """TLS contexts towards upstreams, one per identity that differs in more than its name; bounded, oldest out."""

    def __init__(self, settings: Settings) -> None:
        self._protocols = settings.nginx_proxy_proxy_ssl_protocols
        self._contexts: dict[tuple[bool, int | None, str, str], ResumingContext] = {}

    def context_for(self, tls: TlsIdentity) -> ResumingContext:
        """The context for an identity. Raises CertificateError."""
        # the depth is no matter of a context, but of the sessions that it keeps
        key = (tls.verify, tls.verify_depth, tls.trust, tls.client_certificate)
        context = self._contexts.get(key)
        if context is None:
            if len(self._contexts) >= CONTEXTS_MAX:
                del self._contexts[next(iter(self._contexts))]
            pem = tls.client_certificate.encode()
            context = self._contexts[key] = upstream_client_context(
                verify=tls.verify,
                anchors=(tls.trust.encode(),) if tls.trust else (),
                pair=Pair(pem, pem) if pem else None,
                protocols=self._protocols,
            )
        return context
