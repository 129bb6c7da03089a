"""The control plane as a process: settings in, exit code out.

Reads the settings (nothing else in this package does), binds every socket, opens the plane, serves the API, stops on
a signal. What an operator can cause is one line on stderr that names the setting, and exit code 1. Cold.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import uvicorn
import uvloop
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from kongdp import KONG_VERSION, __version__
from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.context import NodeInfo
from kongdp.adminapi.store import Store
from kongdp.controlplane import documents
from kongdp.controlplane.activity_rollup import Retention
from kongdp.controlplane.api import admin, status
from kongdp.controlplane.api.app import build_app
from kongdp.controlplane.api.guard import Guard
from kongdp.controlplane.api.origins import Origins
from kongdp.controlplane.api_server import ApiServer, StartError
from kongdp.controlplane.cluster.listener import ListenError, bind, bind_unix
from kongdp.controlplane.cluster.trust import ClusterPair
from kongdp.controlplane.log_level import LEVELS, NOTICE
from kongdp.controlplane.plane import Options, Plane, open_plane
from kongdp.controlplane.portal_rooms import PortalRooms, open_rooms
from kongdp.controlplane.prefix_lock import only_one
from kongdp.controlplane.store.database import database_url
from kongdp.entities.schemas import build_schemas
from kongdp.errors import KongdpError
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from kongdp.settings import Listener, Settings

if TYPE_CHECKING:
    from kongdp.controlplane.oidc import OidcOptions

LOG = logging.getLogger("kongdp.controlplane")
# What requests in progress get to finish when the control plane stops.
DRAIN_S = 5
# The largest message of a page of the console: its forms; files are uploaded by HTTP.
SOCKET_BYTES_MAX = 4 * 1024 * 1024
# Bounds the head of a request, on every listener of ours.
HTTP_PROTOCOL = "kongdp.adminapi.protocol:LimitedProtocol"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
LISTENERS = (
    "cluster_listen",
    "kongdp_cluster_telemetry_listen",
    "admin_listen",
    "admin_gui_listen",
    "kongdp_portal_listen",
)


@dataclass(frozen=True, slots=True)
class Opened:
    """Sockets by setting, each with the listener it was made for."""

    sockets: dict[str, list[tuple[Listener, socket.socket]]]

    def of(self, setting: str) -> list[socket.socket]:
        """The sockets of one setting."""
        return [sock for _listener, sock in self.sockets[setting]]

    def close(self) -> None:
        """Close them all."""
        for sockets in self.sockets.values():
            for _listener, sock in sockets:
                sock.close()


def run(
    settings: Settings,
    *,
    on_ready: Callable[[Sequence[str]], None] = lambda places: None,
) -> int:
    """Run a control plane until a signal ends it; the process's exit code.

    `on_ready` is called with the addresses once everything is served; what keeps it from starting goes to stderr. Logging is
    the caller's; without any, it goes to stderr.
    """
    if not logging.getLogger().handlers:
        _log_to_stderr(settings.log_level)
    for warning in settings.warnings:
        LOG.warning("%s", warning)
    with contextlib.ExitStack() as stack:
        try:
            prefix = Path(settings.prefix)
            stack.enter_context(only_one(prefix))
            opened = _open_sockets(settings)
            stack.callback(opened.close)
            plane = open_plane(_options(settings, opened))
        except (KongdpError, OSError) as error:
            return _refuse(error)
        try:
            password = plane.accounts.ensure_admin()
        except SQLAlchemyError as error:
            plane.database.close()
            return _refuse(_start_error(error))
        if password is not None:
            print(f"First start: made the user admin. Password, shown only now: {password}", flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                return runner.run(_serve(settings, plane, opened, on_ready))
            except StartError as error:
                return _refuse(error)


def _refuse(error: Exception) -> int:
    print(f"kongdp control-plane: {error}", file=sys.stderr)
    return 1


async def _serve(settings: Settings, plane: Plane, opened: Opened, on_ready: Callable[[Sequence[str]], None]) -> int:
    stopping = _stop_on_signals(plane)
    try:
        configs = await _start(settings, plane, opened)
    except BaseException:
        # What did start would keep the process from ending.
        await plane.stop()
        raise
    servers = [ApiServer(config, sockets) for config, sockets in configs]
    tasks = [server.serving for server in servers]
    try:
        await asyncio.gather(*(server.until_started() for server in servers))
        pid_file = Path(settings.prefix) / "pids" / "control-plane.pid"
        pid_file.write_text(f"{os.getpid()}\n")
        _say_ready(plane, opened)
        on_ready([_place(*each) for sockets in opened.sockets.values() for each in sockets])
        waiting = asyncio.create_task(stopping.wait())
        done, _pending = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        pid_file.unlink(missing_ok=True)
        has_failed = waiting not in done
    finally:
        for server in servers:
            server.should_exit = True
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await plane.stop()
    for result in results:
        if isinstance(result, BaseException):
            LOG.error("a server of the Admin API, the console or the portal ended: %r", result)
    return 1 if has_failed else 0


async def _start(settings: Settings, plane: Plane, opened: Opened) -> list[tuple[uvicorn.Config, list[socket.socket]]]:
    """Start the plane and make its servers ready. Raises StartError for what a disk, a network or a database can cause."""
    try:
        await plane.start()
        make = make_admin(settings, plane)
        rooms = open_rooms(plane, partial(admin.call, make))
        app = build_app(
            plane,
            make,
            node_id=node_id(settings),
            body_bytes_max=settings.nginx_admin_client_max_body_size,
            rooms=rooms,
        )
        return [
            *_api_configs(settings, app, plane, opened),
            *_console_configs(settings, app, plane, opened),
            *_portal_configs(settings, plane, rooms, opened),
        ]
    except StartError:
        raise
    except (KongdpError, OSError, SQLAlchemyError) as error:
        raise _start_error(error) from error


def _start_error(error: Exception) -> StartError:
    # A database's own words: SQLAlchemy adds the statement, and an address to read about it.
    return StartError(f"cannot start: {getattr(error, 'orig', None) or error}")


def _api_configs(
    settings: Settings, app: FastAPI, plane: Plane, opened: Opened
) -> Iterator[tuple[uvicorn.Config, list[socket.socket]]]:
    """One server for each kind of address, as far as there are any: with and without TLS, open and guarded."""
    for has_tls, is_open in product((False, True), repeat=2):
        sockets = [
            sock
            for listener, sock in opened.sockets["admin_listen"]
            if listener.ssl is has_tls and asks_for_nothing(listener) is is_open
        ]
        if not sockets:
            continue
        config = uvicorn.Config(
            Guard(app, plane, is_open=is_open, origins=Origins(settings.admin_gui_url)),
            http=HTTP_PROTOCOL,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        config.load()
        if has_tls:
            config.ssl = _context(plane, "admin_ssl_cert", settings.admin_ssl_cert, settings.admin_ssl_cert_key)
        yield config, sockets


# A listener there has no address of its own: it is reached wherever the machine is.
EVERY_ADDRESS = ("0.0.0.0", "::")


def _console_configs(
    settings: Settings, app: FastAPI, plane: Plane, opened: Opened
) -> Iterator[tuple[uvicorn.Config, list[socket.socket]]]:
    """The console's servers, with and without TLS. Nothing of it is loaded where it has no address."""
    if not opened.sockets["admin_gui_listen"]:
        return
    from kongdp.controlplane.console.application import build_console
    from kongdp.controlplane.console.door import Place, Places

    def place(listener: Listener, sock: socket.socket, host: str = "") -> Place:
        return Place("https" if listener.ssl else "http", sock.getsockname()[1], host)

    def own_host(listener: Listener) -> str:
        if listener.address in EVERY_ADDRESS:
            return ""
        return f"[{listener.address}]" if listener.is_ipv6 else listener.address

    portals = [place(*each) for each in opened.sockets["kongdp_portal_listen"] if each[0].path is None]
    admins = [place(*each, own_host(each[0])) for each in opened.sockets["admin_listen"] if each[0].path is None]
    places = Places(next(iter(portals), None), next(iter(admins), None))
    console = build_console(plane, Guard(app, plane, is_open=False), places)
    # NiceGUI starts and stops with the first server.
    lifespan: Literal["on", "off"] = "on"
    for has_tls in (False, True):
        sockets = [sock for listener, sock in opened.sockets["admin_gui_listen"] if listener.ssl is has_tls]
        if not sockets:
            continue
        config = uvicorn.Config(
            console,
            http=HTTP_PROTOCOL,
            log_config=None,
            access_log=False,
            lifespan=lifespan,
            ws="wsproto",
            ws_max_size=SOCKET_BYTES_MAX,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        if has_tls:
            config.ssl = _context(
                plane, "admin_gui_ssl_cert", settings.admin_gui_ssl_cert, settings.admin_gui_ssl_cert_key
            )
        lifespan = "off"
        yield config, sockets


def _portal_configs(
    settings: Settings, plane: Plane, rooms: PortalRooms, opened: Opened
) -> Iterator[tuple[uvicorn.Config, list[socket.socket]]]:
    """The portal's servers, with and without TLS. Nothing of it is loaded where it has no address."""
    listeners = opened.sockets["kongdp_portal_listen"]
    if not listeners:
        return
    from kongdp.controlplane.portal.application import build_portal

    portal = build_portal(plane, rooms)
    for has_tls in (False, True):
        sockets = [sock for listener, sock in listeners if listener.ssl is has_tls]
        if not sockets:
            continue
        config = uvicorn.Config(
            portal,
            http=HTTP_PROTOCOL,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        config.load()
        if has_tls:
            config.ssl = _context(
                plane, "admin_gui_ssl_cert", settings.admin_gui_ssl_cert, settings.admin_gui_ssl_cert_key
            )
        elif not all(asks_for_nothing(listener) for listener, _sock in listeners if not listener.ssl):
            LOG.warning(
                "kongdp_portal_listen: passwords and keys cross the network unencrypted; add ssl to the address"
            )
        yield config, sockets


def asks_for_nothing(listener: Listener) -> bool:
    """Whether a listener lets everyone in: only those that nobody outside this machine reaches do, as Kong's default."""
    return listener.path is not None or listener.address in LOOPBACK


def make_admin(settings: Settings, plane: Plane) -> admin.Make:
    """What makes the Admin API over a store: the node's schemas and facts stay the same for all of them."""
    bundled = "bundled" in settings.plugins
    plugins = {name: schema for name, schema in PLUGIN_SCHEMAS.items() if bundled or name in settings.plugins}
    schemas = build_schemas(router_flavor=settings.router_flavor, plugins=plugins)
    info = NodeInfo(
        node_id=node_id(settings),
        version=KONG_VERSION,
        hostname=socket.gethostname(),
        server=f"kongdp/{__version__}",
        plugins=plugins,
        configuration=settings.masked(),
        pids={"master": os.getpid(), "workers": []},
        log_level=plane.log_level,
    )

    def make(store: Store) -> AdminApi:
        return AdminApi(store, schemas, info, endpoints=status.LISTED, clock=plane.clock)

    return make


def _context(plane: Plane, setting: str, certificates: Sequence[str], keys: Sequence[str]) -> ssl.SSLContext:
    """TLS of the Admin API or the console: the configured pair, else the server certificate of our own authority. Raises
    StartError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not certificates:
        context.load_cert_chain(*plane.authority.server_certificate(plane.options.names))
        return context
    with tempfile.TemporaryDirectory() as directory:
        # The ssl module reads pairs only from files.
        certificate, key = Path(directory, "server.crt"), Path(directory, "server.key")
        certificate.write_text(certificates[0])
        key.touch(0o600)
        key.write_text(keys[0])
        try:
            # Without a password callback OpenSSL would ask on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise StartError(f"{setting}_key does not belong to {setting}: {error}") from None
    return context


def _stop_on_signals(plane: Plane) -> asyncio.Event:
    """Set on the first of the three signals; a second one ends the process at once. SIGHUP re-reads certificates."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop(name: str) -> None:
        if stopping.is_set():
            os._exit(1)
        LOG.log(NOTICE, "%s: stopping", name)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(plane.refresh_trust()))
    return stopping


def _options(settings: Settings, opened: Opened) -> Options:
    return Options(
        prefix=Path(settings.prefix),
        database_url=database_url(settings.kongdp_database_url, settings.prefix),
        cluster_sockets=opened.of("cluster_listen"),
        telemetry_sockets=opened.of("kongdp_cluster_telemetry_listen"),
        cluster_pair=_cluster_pair(settings),
        names=settings.kongdp_cluster_names,
        certificate_lifetime_s=int(settings.kongdp_cert_lifetime_s),
        payload_bytes_max=settings.cluster_max_payload,
        purge_delay_s=settings.cluster_data_plane_purge_delay,
        retention=Retention(
            fine_s=settings.kongdp_activity_10s_kept_s,
            minutes_s=settings.kongdp_activity_1m_kept_s,
            hours_s=settings.kongdp_activity_1h_kept_s,
        ),
        oidc=_oidc(settings),
        uploads=documents.Limits(settings.kongdp_document_max_size, settings.kongdp_spec_max_size),
        router_flavor=settings.router_flavor,
        log_level=settings.log_level,
    )


def _oidc(settings: Settings) -> "OidcOptions | None":
    if settings.kongdp_oidc_issuer is None or settings.kongdp_oidc_client_id is None:
        return None
    from kongdp.controlplane.oidc import OidcOptions
    from kongdp.controlplane.oidc_provider import Client

    client = Client(
        settings.kongdp_oidc_issuer,
        settings.kongdp_oidc_client_id,
        settings.kongdp_oidc_client_secret,
        tuple(dict.fromkeys(("openid", *settings.kongdp_oidc_scopes))),
    )
    return OidcOptions(
        client,
        redirect_uri=settings.kongdp_oidc_redirect_uri,
        name_claim=settings.kongdp_oidc_name_claim,
        roles_claim=settings.kongdp_oidc_roles_claim,
        roles={group: role for group, _mark, role in (each.rpartition("=") for each in settings.kongdp_oidc_roles)},
        default_role=settings.kongdp_oidc_default_role,
        domains=tuple(domain.lower() for domain in settings.kongdp_oidc_domains),
    )


def _cluster_pair(settings: Settings) -> ClusterPair | None:
    if settings.cluster_cert is None or settings.cluster_cert_key is None:
        return None
    authority = settings.cluster_ca_cert if settings.cluster_mtls != "shared" else None
    return ClusterPair(settings.cluster_cert, settings.cluster_cert_key, authority)


def _open_sockets(settings: Settings) -> Opened:
    """Bind every address. Raises StartError with a line for each that cannot be had."""
    opened = Opened({name: [] for name in LISTENERS})
    problems = []
    for name in LISTENERS:
        listeners: Sequence[Listener] = getattr(settings, name)
        for listener in listeners:
            if name == "admin_gui_listen" and not (listener.ssl or asks_for_nothing(listener)):
                problems.append(f"{name}: {listener.place} is open to the network and needs ssl: {listener.place} ssl")
                continue
            try:
                if listener.path is not None:
                    sock = bind_unix(name, listener.path)
                else:
                    sock = bind(name, listener.address, listener.port)
                opened.sockets[name].append((listener, sock))
            except ListenError as error:
                problems.append(str(error))
    if problems:
        opened.close()
        raise StartError("\n  ".join(problems))
    return opened


def node_id(settings: Settings) -> str:
    """The control plane's own id: the setting's, else the one kept under the prefix, made at the first start."""
    if settings.node_id:
        return settings.node_id
    path = Path(settings.prefix) / "kong.id"
    try:
        return str(uuid.UUID(path.read_text().strip()))
    except (OSError, ValueError):
        made = str(uuid.uuid4())
        path.write_text(made)
        return made


def _say_ready(plane: Plane, opened: Opened) -> None:
    shown = {name: ", ".join(_place(*each) for each in sockets) for name, sockets in opened.sockets.items()}
    print(
        f"control plane ready: Admin API on {shown['admin_listen'] or 'no address'}, console on"
        f" {shown['admin_gui_listen'] or 'no address'}, portal on {shown['kongdp_portal_listen'] or 'no address'}, data planes on"
        f" {shown['cluster_listen']}, counters on {shown['kongdp_cluster_telemetry_listen']};"
        f" CA fingerprint {plane.authority.fingerprint}",
        flush=True,
    )


def _log_to_stderr(level: str) -> None:
    logging.addLevelName(NOTICE, "notice")
    logging.basicConfig(
        stream=sys.stderr,
        level=LEVELS.get(level, logging.WARNING),
        format="%(asctime)s [%(levelname)s] %(name)s: %(message)s",
    )
    # What libraries tell about themselves is not news to an operator.
    for name in ("alembic", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _place(listener: Listener, sock: socket.socket) -> str:
    if listener.path is not None:
        return listener.place
    host = f"[{listener.address}]" if listener.is_ipv6 else listener.address
    return f"{host}:{sock.getsockname()[1]}"
