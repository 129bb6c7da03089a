"""One data plane on /v1/counters: totals in, acknowledgements out.

In: counter frames as text.  Out: frames to the ingest, {"ack": seq} once their content is committed, in whatever
order that happens.
House rules: a node speaks only for itself; only a few frames wait unacknowledged, then reading pauses; what cannot be
stored is not acknowledged, and the connection ends, so that the node sends it again.
Cold. Source: ours; protocol notes 8.3.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from kongdp.controlplane.cluster.requests import Link
from kongdp.sync.messages import CounterFrame, MessageError, decode_counters, encode_ack

LOG = logging.getLogger("kongdp.controlplane.counters")
# 10,000 rows (sync.messages.COUNTER_ROWS_MAX) of about 70 bytes, with room for long numbers.
MESSAGE_BYTES_MAX = 2 * 1024 * 1024
UNACKNOWLEDGED_MAX = 4


class Ingest(Protocol):
    """Where frames go."""

    def submit(self, frame: CounterFrame, done: Callable[[Exception | None], None]) -> None:
        """Store a frame soon; `done` is called on the event loop after the commit, or with what went wrong."""


class CounterStream:
    """A connected node's counters."""

    message_bytes_max = MESSAGE_BYTES_MAX

    def __init__(self, node_id: str, ingest: Ingest, *, still_valid: Callable[[], bool] = lambda: True) -> None:
        self.node_id = node_id
        self._ingest = ingest
        self._still_valid = still_valid
        self._link: Link | None = None
        self._unacknowledged = 0

    def opened(self, link: Link) -> None:
        """The upgrade is complete."""
        self._link = link

    def text_received(self, data: bytes) -> None:
        """A counter frame."""
        try:
            frame = decode_counters(data)
        except MessageError as error:
            self._close(str(error))
            return
        if frame.node_id != self.node_id:
            self._close(f"counters of node {frame.node_id[:64]} from node {self.node_id}")
            return
        if not self._still_valid():
            self._close("the node's certificate has expired or was revoked")
            return
        self._unacknowledged += 1
        if self._unacknowledged >= UNACKNOWLEDGED_MAX and self._link is not None:
            self._link.pause()
        self._ingest.submit(frame, lambda error: self._stored(frame.seq, error))

    def binary_received(self, data: bytes) -> None:
        """Not part of the protocol."""
        self._close("expected a text frame, received a binary one")

    def ping_received(self, payload: bytes) -> None:
        """Answered as RFC 6455 says."""
        if self._link is not None:
            self._link.send_pong(payload)

    def pong_received(self) -> None:
        """Allowed at any time (RFC 6455 section 5.5.3)."""

    def sent(self) -> None:
        """Nothing waits for that."""

    def tick(self, now: float) -> None:
        """Silence is normal: a node without traffic has nothing to say. TCP keep-alive finds dead peers."""

    def closed(self, reason: str) -> None:
        """The connection has ended; frames under way are stored all the same."""
        self._link = None

    def dismiss(self, reason: str) -> None:
        """End the stream for a reason of the control plane's own."""
        self._close(reason)

    def _stored(self, seq: int, error: Exception | None) -> None:
        if self._link is None:
            return
        if error is not None:
            self._close("the counters could not be stored")
            return
        self._unacknowledged -= 1
        self._link.send_text(encode_ack(seq))
        if self._unacknowledged == UNACKNOWLEDGED_MAX - 1:
            self._link.resume()

    def _close(self, reason: str) -> None:
        if self._link is not None:
            LOG.warning("closing the counter stream of node %s: %s", self.node_id, reason)
            self._link.close(reason)
