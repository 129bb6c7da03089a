"""A real data plane in front of two control planes on one PostgreSQL: the one that it is connected to is killed."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import ControlPlane, DataPlane, enrolled_with, http, wait_for
from tests.support.counting import Scene
from tests.support.cut_proxy import CutProxy
from tests.support.postgres import PostgresServer, why_not


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[tuple[ControlPlane, ControlPlane]]:
    """Two, of which the first knows the password of the user admin."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    server = PostgresServer()
    settings = {"KONGDP_DATABASE_URL": server.create_migrated()}
    both = tuple(ControlPlane(tmp_path / name, settings=settings) for name in ("one", "two"))
    try:
        for plane in both:
            plane.start()
        yield both  # type: ignore[misc]  # two they are
    finally:
        for plane in both:
            plane.stop(signal.SIGKILL)
        server.close()


class Traffic:
    """One client that asks again and again; `sent` counts what was answered with 200."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self.wrong: list[int] = []

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            status = http("GET", self._url).status
            if status == 200:
                self.sent += 1
            else:
                self.wrong.append(status)

    def go_on(self, count: int) -> None:
        """Wait until so many more were answered."""
        wanted = self.sent + count
        wait_for(f"{count} requests", lambda: self.sent >= wanted)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_node_moves_to_the_other_replica_when_its_own_is_killed(
    replicas: tuple[ControlPlane, ControlPlane], nodes: Callable[..., DataPlane], upstream: str, tmp_path: Path
) -> None:
    """Under load, without a wrong answer: the other one gives it an edit and has every count, once."""
    one, two = replicas
    version = one.make_version(upstream)

    async def line(port: int) -> CutProxy:
        proxy = CutProxy(port)
        await proxy.start()
        return proxy

    with Scene() as scene:
        sync, counters = scene.call(lambda: line(two.cluster_port)), scene.call(lambda: line(two.telemetry_port))
        settings = enrolled_with(one, tmp_path / "dp")
        settings["KONG_CLUSTER_CONTROL_PLANE"] = f"127.0.0.1:{sync.port}"
        settings["KONG_CLUSTER_TELEMETRY_ENDPOINT"] = f"127.0.0.1:{counters.port}"
        node = nodes(settings)
        node.start()
        wait_for("in sync", lambda: one.node()["in_sync"])
        with Traffic(f"{node.proxy}/mock") as traffic:
            traffic.go_on(100)
            wait_for("counts at the first", lambda: two.codes(version).get("200", 0) > 50)
            two.stop(signal.SIGKILL)
            sync.lead_to(one.cluster_port)
            counters.lead_to(one.telemetry_port)
            traffic.go_on(200)
            made = http("POST", f"{one.admin}/services/example_gateway_service/routes", {"paths": ["/later"]})
            assert made.status == 201
            wait_for("the edit", lambda: http("GET", f"{node.proxy}/later").status == 200)
            traffic.go_on(50)
        assert traffic.wrong == []
        wait_for("connected to the other", lambda: one.node()["connected"] and one.node()["in_sync"])
        wait_for("every count", lambda: one.codes(version).get("200", 0) >= traffic.sent)
        scene.call(sync.stop)
        scene.call(counters.stop)
    # The route that came later has counts of its own, of the probe; they go into no version's record but this one's.
    assert one.codes(version)["200"] - traffic.sent in (0, 1)
