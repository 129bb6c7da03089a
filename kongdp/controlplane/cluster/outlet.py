"""One data plane on /v1/outlet: the control plane's side of the hybrid protocol, version 1.

In: frames (through `Session`).  Out: calls of the hub (joined, pinged, reported, left) and frames to the link. The
rules (protocol notes 1.4, 2.1, 2.2, 2.8, 2.9, 5.2): basic_info first and within 5 s; after it only pings that carry a
hash, and error frames from data planes of ours; an incompatible version is closed only after its row is written; 45 s
without a ping end it; a pong is empty and at once; of configurations only the newest one waits.
Cold.
"""

import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from kongdp import KONG_VERSION
from kongdp.controlplane.cluster.requests import Link
from kongdp.controlplane.export import Payload
from kongdp.controlplane.nodes import (
    NORMAL,
    PLUGIN_SET_INCOMPATIBLE,
    PLUGIN_VERSION_INCOMPATIBLE,
    UNKNOWN,
    VERSION_INCOMPATIBLE,
)
from kongdp.entities.hashing import EMPTY_HASH
from kongdp.sync.messages import (
    RENEW_CERTIFICATE,
    ErrorReport,
    MessageError,
    decode_basic_info,
    decode_error,
    decode_ping,
)

LOG = logging.getLogger("kongdp.controlplane.outlet")
BASIC_INFO_TIMEOUT_S = 5.0
SILENCE_MAX_S = 45.0
# basic_info carries every setting of a node; Kong's is about 40 KiB. Error reports are bounded by their sender to less.
MESSAGE_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Peer:
    """Who a data plane is, as its certificate and its request say. `is_ours`: an identity of our own authority."""

    node_id: str
    group_id: str
    hostname: str
    ip: str
    version: str
    cert_expiry: float | None
    is_ours: bool


class Desk(Protocol):
    """What the outlet asks of the hub."""

    def join(self, plane: "DataPlane") -> None:
        """The data plane has said who it is: note it, and offer it the configuration."""

    def note(self, plane: "DataPlane") -> None:
        """Something the node's row shows has changed (a ping came, its status changed)."""

    def leave(self, plane: "DataPlane", reason: str) -> None:
        """The connection has ended."""


class DataPlane:
    """A connected data plane. Created by the gate once the certificate is accepted."""

    message_bytes_max = MESSAGE_BYTES_MAX

    def __init__(
        self,
        peer: Peer,
        desk: Desk,
        *,
        link_id: str,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        still_valid: Callable[[], bool] = lambda: True,
    ) -> None:
        self.peer = peer
        self.link_id = link_id
        self.labels: Mapping[str, str] = {}
        self.plugins: Mapping[str, str] = {}
        self.config_hash = EMPTY_HASH
        self.sync_status = UNKNOWN
        self.last_seen = wall()
        self.last_error: ErrorReport | None = None
        self._hash_at_error = EMPTY_HASH
        self._desk = desk
        self._wall = wall
        self._monotonic = monotonic
        self._still_valid = still_valid
        self._link: Link | None = None
        self._deadline = monotonic() + BASIC_INFO_TIMEOUT_S
        self._is_joined = False
        self._offered: Payload | None = None
        self._is_unsent = False

    # frames from the data plane

    def opened(self, link: Link) -> None:
        """The upgrade is complete: wait for basic_info."""
        self._link = link

    def binary_received(self, data: bytes) -> None:
        """basic_info, or an error report."""
        try:
            if not self._is_joined:
                self._introduce(data)
                return
            report = decode_error(data) if self.peer.is_ours else None
        except MessageError as error:
            self._close(str(error))
            return
        if report is None:
            self._close("invalid websocket frame received from data plane: binary")
            return
        LOG.warning(
            "data plane %s rejected configuration %s: %s", self.peer.node_id, report.config_hash, report.message
        )
        self.last_error, self._hash_at_error = report, self.config_hash
        self._desk.note(self)

    def text_received(self, data: bytes) -> None:
        """No text frame is part of the protocol."""
        self._close("invalid websocket frame received from data plane: text")

    def pong_received(self) -> None:
        """Neither is a pong: this end never pings."""
        self._close("invalid websocket frame received from data plane: pong")

    def ping_received(self, payload: bytes) -> None:
        """The hash of the configuration that is in force there."""
        if not self._is_joined or self._link is None:
            self._close("expected basic_info, received ping")
            return
        try:
            self.config_hash = decode_ping(payload)
        except MessageError as error:
            self._close(str(error))
            return
        if not self._still_valid():
            self._close("the node's certificate has expired or was revoked")
            return
        self._link.send_pong(b"")
        self._deadline = self._monotonic() + SILENCE_MAX_S
        self.last_seen = self._wall()
        if self.last_error is not None and self._has_moved_on():
            self.last_error = None
        self._desk.note(self)

    def tick(self, now: float) -> None:
        """Enforce the two deadlines."""
        if now < self._deadline:
            return
        if self._is_joined:
            self._close(f"did not receive ping frame from data plane within {SILENCE_MAX_S:.0f} seconds")
        else:
            self._close(f"no basic_info within {BASIC_INFO_TIMEOUT_S:.0f} seconds")

    def closed(self, reason: str) -> None:
        """The connection has ended."""
        self._link = None
        if self._is_joined:
            self._desk.leave(self, reason)

    # configuration to the data plane

    def offer(self, payload: Payload) -> None:
        """Send this configuration as soon as the one before it has left; only the newest waits."""
        self._offered = payload
        status = plugin_status(payload.plugin_names, self.plugins)
        if status != self.sync_status:
            self.sync_status = status
            self._desk.note(self)
        self._is_unsent = status == NORMAL
        if not self._is_unsent:
            LOG.warning("data plane %s gets no configuration: %s", self.peer.node_id, status)
        self.sent()

    @property
    def has_been_offered(self) -> bool:
        """Whether it was given any configuration yet."""
        return self._offered is not None

    def sent(self) -> None:
        """The link is free: send what waits."""
        if self._is_unsent and self._link is not None and self._offered is not None and not self._link.is_sending:
            self._is_unsent = False
            self._link.send_binary(self._offered.frame)

    def ask_renewal(self) -> bool:
        """Ask the node for a new certificate; False when it is none of ours, and has none to renew with us."""
        if self._link is None or not (self._is_joined and self.peer.is_ours):
            return False
        self._link.send_text(RENEW_CERTIFICATE)
        return True

    def dismiss(self, reason: str) -> None:
        """End the connection for a reason of the control plane's own."""
        self._close(reason)

    def _introduce(self, data: bytes) -> None:
        info = decode_basic_info(data)
        self.labels = info.labels
        self.plugins = {plugin.name: plugin.version for plugin in info.plugins}
        problem = version_problem(self.peer.version)
        self.sync_status = VERSION_INCOMPATIBLE if problem else NORMAL
        self._is_joined = True
        self._deadline = self._monotonic() + SILENCE_MAX_S
        self.last_seen = self._wall()
        if problem:
            LOG.error("data plane %s (%s): %s", self.peer.node_id, self.peer.ip, problem)
            self._desk.note(self)
            self._close(problem)
            return
        self._desk.join(self)

    def _has_moved_on(self) -> bool:
        """Whether the node has applied something since its last rejection, or has what is wanted."""
        is_wanted = self._offered is not None and self._offered.config_hash == self.config_hash
        return is_wanted or self.config_hash != self._hash_at_error

    def _close(self, reason: str) -> None:
        if self._link is not None:
            LOG.info("closing the connection of data plane %s (%s): %s", self.peer.node_id, self.peer.ip, reason)
            self._link.close(reason)


def _major_minor(version: str) -> tuple[int, int] | None:
    match = re.match(r"(\d{1,9})\.(\d{1,9})", version)
    return (int(match[1]), int(match[2])) if match else None


OURS = _major_minor(KONG_VERSION) or (0, 0)


def version_problem(version: str) -> str:
    """Why a data plane of this version cannot be served, or "". Only major and minor count."""
    theirs = _major_minor(version)
    if theirs is None or theirs[0] != OURS[0]:
        accepted = f"{OURS[0]}.x.y are accepted"
        return f"data plane version {version} is incompatible with control plane version {KONG_VERSION} ({accepted})"
    if theirs > OURS:
        return f"data plane version {version} is incompatible with older control plane version {KONG_VERSION}"
    return ""


def plugin_status(configured: Collection[str], installed: Mapping[str, str]) -> str:
    """NORMAL when every configured plugin is installed in a version that understands our configuration of it."""
    for name in configured:
        if name not in installed:
            return PLUGIN_SET_INCOMPATIBLE
        theirs = _major_minor(installed[name])
        if theirs is not None and (theirs[0] != OURS[0] or theirs > OURS):
            return PLUGIN_VERSION_INCOMPATIBLE
    return NORMAL
