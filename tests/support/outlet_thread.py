"""A scripted control plane in a thread, for tests whose data plane is a real process."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any

from kongdp.sync.messages import Reconfigure, encode_reconfigure
from tests.support.certificates import Made
from tests.support.scripted_control_plane import ScriptedControlPlane, mutual_context


class OutletThread:
    """Use as a context manager; `settings` are those of a node that connects to it."""

    def __init__(self, server: Made, node: Made, anchor: Made) -> None:
        self._node = node
        self._anchor = anchor
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._plane = ScriptedControlPlane(mutual_context(server, anchor))

    def __enter__(self) -> "OutletThread":
        self._thread.start()
        self._run(self._plane.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._plane.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def settings(self) -> dict[str, str]:
        """Of a data plane with a certificate of its own."""
        return {
            "KONG_ROLE": "data_plane",
            "KONG_CLUSTER_MTLS": "pki",
            "KONG_CLUSTER_CONTROL_PLANE": f"127.0.0.1:{self._plane.port}",
            "KONG_CLUSTER_TELEMETRY_ENDPOINT": f"127.0.0.1:{self._plane.port}",
            "KONG_CLUSTER_SERVER_NAME": "kongdp-control-plane",
            "KONG_CLUSTER_CERT": self._node.pem.decode(),
            "KONG_CLUSTER_CERT_KEY": self._node.key_pem.decode(),
            "KONG_CLUSTER_CA_CERT": self._anchor.pem.decode(),
        }

    def push(self, config_hash: str, table: Mapping[str, Any]) -> None:
        """Push a configuration as soon as the node is connected."""
        frame = encode_reconfigure(Reconfigure(config_hash, dict(table), 1.0))

        async def send() -> None:
            await self._plane.until(lambda: self._plane.outlets and self._plane.outlets[-1].binaries, "node connected")
            self._plane.push(frame)

        self._run(send())

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)
