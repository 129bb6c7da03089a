"""What node settings become in a worker: limits, retry rules, TLS towards upstreams."""

import asyncio
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

from kongdp.process import worker_settings
from kongdp.proxy.failures import IDEMPOTENT_UNSAFE, Failure
from kongdp.settings import Settings, SettingsError, load_settings
from kongdp.upstream.pool import TlsIdentity
from tests.support.certificates import authority, make

CA = authority()


def load(**environ: str) -> Settings:
    return load_settings(None, {"KONG_DATABASE": "off", **environ})


@pytest.mark.parametrize(
    ("affinity", "cores"),
    [("off", [None, None, None]), ("auto", [2, 5, 2]), ("7, 1,07", [7, 1, 7]), ("3", [3, 3, 3])],
)
def test_workers_take_cores_in_turn(affinity: str, cores: list[int | None]) -> None:
    """Each worker has one core: of those that the node may use, or of those listed."""
    given = load(KONGDP_WORKER_CPU_AFFINITY=affinity).kongdp_worker_cpu_affinity
    assert [worker_settings.core_of(given, index, {5, 2}) for index in range(3)] == cores


@pytest.mark.parametrize("affinity", ["on", "1,,2", "0-3", "-1", "1;2"])
def test_affinity_is_refused_when_it_is_no_list_of_cores(affinity: str) -> None:
    """The message says what may stand there."""
    with pytest.raises(SettingsError, match="must be off, auto, or numbers of cores separated by commas"):
        load(KONGDP_WORKER_CPU_AFFINITY=affinity)


def test_worker_is_bound_or_serves_unbound(caplog: pytest.LogCaptureFixture) -> None:
    """The thread that is bound runs on its core alone; a core that this machine does not have is only complained of."""

    def bind(affinity: str, index: int) -> set[int]:
        worker_settings.bind_to_core(load(KONGDP_WORKER_CPU_AFFINITY=affinity), index)
        return os.sched_getaffinity(0)

    usable = sorted(os.sched_getaffinity(0))
    with ThreadPoolExecutor(1) as threads:  # the tests' own thread keeps its cores
        assert threads.submit(bind, "99999", 0).result() == set(usable)
        assert "cannot bind worker 0 to core 99999" in caplog.text
        assert threads.submit(bind, "auto", len(usable) - 1).result() == {usable[-1]}


def test_limits_are_the_contracts_when_nothing_is_set() -> None:
    """Defaults of the proxying contract, section 5, and ours where Kong has none."""
    limits = worker_settings.limits(load())
    assert (limits.head.line_bytes_max, limits.head.field_bytes_max, limits.head.head_bytes_max) == (8192, 8192, 32768)
    assert (limits.head.fields_max, limits.upstream_head_bytes_max) == (1000, 32768)
    assert (limits.body_bytes_max, limits.body_buffer_bytes, limits.response_buffer_bytes) == (0, 262144, 262144)
    assert (limits.header_timeout_s, limits.body_timeout_s, limits.send_timeout_s) == (60, 60, 60)
    assert (limits.keepalive_timeout_s, limits.keepalive_requests, limits.connections_max) == (75, 10000, 16384)
    assert (limits.linger_s, limits.linger_total_s, limits.linger_bytes_max) == (5, 30, 1 << 20)
    assert (limits.stream_buffer_bytes, limits.pipeline_bytes_max) == (65536, 65536)


def test_limits_follow_their_settings() -> None:
    """Each bound has its setting; a keepalive_timeout of 0 means one request a connection."""
    limits = worker_settings.limits(
        load(
            KONGDP_STREAM_BUFFER_BYTES_MAX="8k",
            KONGDP_PIPELINE_BYTES_MAX="2k",
            KONGDP_LINGER_BYTES_MAX="0",
            KONG_NGINX_HTTP_LINGERING_TIMEOUT="1s",
            KONG_NGINX_PROXY_LINGERING_TIME="2s",
            KONG_NGINX_PROXY_PROXY_BUFFERING="off",
            KONG_NGINX_PROXY_PROXY_REQUEST_BUFFERING="off",
            KONG_NGINX_HTTP_KEEPALIVE_TIMEOUT="0",
        )
    )
    assert (limits.stream_buffer_bytes, limits.pipeline_bytes_max, limits.linger_bytes_max) == (8192, 2048, 0)
    assert (limits.body_buffer_bytes, limits.response_buffer_bytes) == (8192, 8192)
    assert (limits.linger_s, limits.linger_total_s, limits.keepalive_requests) == (1, 2, 1)


def test_pools_follow_their_settings() -> None:
    """Kong's upstream_keepalive_*, and our bounds of connections and waiters."""
    settings = load(
        KONG_UPSTREAM_KEEPALIVE_POOL_SIZE="3",
        KONG_UPSTREAM_KEEPALIVE_MAX_REQUESTS="4",
        KONG_UPSTREAM_KEEPALIVE_IDLE_TIMEOUT="5",
        KONGDP_UPSTREAM_CONNECTIONS_MAX="6",
        KONGDP_UPSTREAM_WAITERS_MAX="7",
    )
    limits = worker_settings.pool_limits(settings)
    assert (limits.idle_max, limits.requests_max, limits.idle_timeout_s) == (3, 4, 5)
    assert (limits.connections_max, limits.waiters_max) == (6, 7)


def test_retry_rules_follow_nginx_directives() -> None:
    """Closed and silent upstreams unless told otherwise; words that name a status are left out."""
    rules = worker_settings.retry_rules(load())
    assert {failure for failure in Failure if failure.condition in rules.conditions} == {
        Failure.CONNECT,
        Failure.CONNECT_TIMEOUT,
        Failure.CLOSED,
        Failure.TIMEOUT,
    }
    assert (rules.unsafe_methods, rules.tries_max) == (IDEMPOTENT_UNSAFE, 0)
    given = load(
        KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM="error non_idempotent http_503",
        KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM_TRIES="2",
    )
    rules = worker_settings.retry_rules(given)
    assert {failure for failure in Failure if failure.condition in rules.conditions} == {
        Failure.CONNECT,
        Failure.CLOSED,
    }
    assert (rules.unsafe_methods, rules.tries_max) == (frozenset(), 2)


def test_tls_defaults_are_what_the_node_says() -> None:
    """proxy_ssl_* and client_ssl count where a service says nothing."""
    assert worker_settings.tls_defaults(load()) == TlsIdentity(None, verify=False, verify_depth=1)
    own = make("node")
    found = worker_settings.tls_defaults(
        load(
            KONG_NGINX_PROXY_PROXY_SSL_VERIFY="on",
            KONG_NGINX_PROXY_PROXY_SSL_VERIFY_DEPTH="3",
            KONG_NGINX_PROXY_PROXY_SSL_TRUSTED_CERTIFICATE=CA.pem.decode(),
            KONG_CLIENT_SSL="on",
            KONG_CLIENT_SSL_CERT=own.pem.decode(),
            KONG_CLIENT_SSL_CERT_KEY=own.key_pem.decode(),
        )
    )
    assert (found.verify, found.verify_depth) == (True, 3)
    assert CA.pem.decode().strip() in found.trust
    assert own.key_pem.decode().strip() in found.client_certificate


def test_versions_towards_upstreams_are_those_of_the_setting() -> None:
    """proxy_ssl_protocols."""
    contexts = worker_settings.UpstreamContexts(load(KONG_NGINX_PROXY_PROXY_SSL_PROTOCOLS="TLSv1.2"))
    context = contexts.context_for(TlsIdentity(None))
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    assert contexts.context_for(TlsIdentity("another.name")) is context


@pytest.mark.parametrize(
    ("mode", "wanted"), [("off", ssl.CERT_NONE), ("optional", ssl.CERT_OPTIONAL), ("on", ssl.CERT_REQUIRED)]
)
def test_listeners_ask_clients_as_the_setting_says(mode: str, wanted: ssl.VerifyMode) -> None:
    """ssl_verify_client and ssl_client_certificate."""
    settings = load(KONG_NGINX_PROXY_SSL_VERIFY_CLIENT=mode, KONG_NGINX_PROXY_SSL_CLIENT_CERTIFICATE=CA.pem.decode())
    options = worker_settings.tls_options(settings)
    assert options.verifies_client is wanted
    assert options.client_anchors is not None
    assert options.client_anchors.strip() == CA.pem.decode().strip()


def test_bodies_go_to_files_only_by_setting(tmp_path: Path) -> None:
    """kongdp_body_spill_bytes_max; the file system may not know O_TMPFILE."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        assert worker_settings.spill_store(load(), loop) is None
        store = worker_settings.spill_store(load(KONGDP_BODY_SPILL_BYTES_MAX="1m", KONG_PREFIX=str(tmp_path)), loop)
        assert store is not None
        for flags in (os.O_TMPFILE, os.O_CREAT):  # without it a directory cannot be opened for writing
            with mock.patch.object(os, "O_TMPFILE", flags):
                fd = store.open()
            assert os.write(fd, b"body") == 4
            assert os.pread(fd, 10, 0) == b"body"
            assert os.fstat(fd).st_mode & 0o777 == 0o600
            os.close(fd)
        assert os.listdir(tmp_path / "spill") == []
        store.close()

    asyncio.run(story())
