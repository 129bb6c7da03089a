"""Phases at a gateway: order, short circuit, crashes, what runs without a route, who is picked, and swaps under way.

The handlers are the test's own; they stand in for plugins whose settings the schemas know.
"""

import gc
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from kongdp.plugins import registry
from kongdp.plugins.base import Answer, ExchangeView, Handler, PluginError, error, exit_json
from kongdp.proxy.plugin_run import PluginRun
from tests.support.loops import run
from tests.support.plugged import plugged

NAMES = {"cors": 2000, "bot-detection": 2500, "correlation-id": 100001, "prometheus": 13}
seen: list[str] = []


class Recorder(Handler):
    """Notes each phase it is called in, and does what `acts` says there."""

    acts: ClassVar[dict[str, Callable[[ExchangeView], Answer | None]]] = {}

    def _note(self, phase: str, exchange: ExchangeView) -> Answer | None:
        seen.append(f"{self.plugin.instance_name or self.plugin.name}.{phase}")
        act = self.acts.get(f"{self.plugin.name}.{phase}")
        return act(exchange) if act is not None else None

    def rewrite(self, exchange: ExchangeView) -> None:
        self._note("rewrite", exchange)

    def access(self, exchange: ExchangeView) -> Answer | None:
        return self._note("access", exchange)

    async def access_waiting(self, exchange: ExchangeView) -> Answer | None:
        await exchange.body()
        return self._note("access", exchange)

    def header_filter(self, exchange: ExchangeView) -> None:
        self._note("header_filter", exchange)

    def body_filter(self, exchange: ExchangeView, data: bytes, ended: bool) -> bytes:
        self._note("body_filter", exchange)
        return data

    def log(self, exchange: ExchangeView) -> None:
        self._note("log", exchange)


@pytest.fixture(autouse=True)
def recorders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name of NAMES is a Recorder of its priority; key-auth stays what it is."""
    kinds = {name: type(name, (Recorder,), {"PRIORITY": priority}) for name, priority in NAMES.items()}
    real = registry.load

    def load(name: str) -> type[Handler]:
        return kinds.get(name) or real(name)

    monkeypatch.setattr(registry, "load", load)
    monkeypatch.setattr(Recorder, "acts", {})
    seen.clear()


def phases(name: str) -> list[str]:
    """Phases a plugin was called in, in order."""
    return [each.partition(".")[2] for each in seen if each.startswith(f"{name}.")]


def in_phase(phase: str) -> list[str]:
    """Who was called in a phase, in order."""
    return [each.partition(".")[0] for each in seen if each.endswith(f".{phase}")]


def test_phases_when_a_request_passes() -> None:
    """Descending priority in every phase; body_filter sees the end; rewrite is for global instances."""

    async def story() -> None:
        async with plugged(
            {"name": "cors"}, {"name": "bot-detection"}, more={"plugins": [{"name": "correlation-id"}]}
        ) as p:
            assert (await p.ask()).status == 200
        order = ["correlation-id", "bot-detection", "cors"]
        assert in_phase("rewrite") == ["correlation-id"]
        for phase in ("access", "header_filter", "log"):
            assert in_phase(phase) == order
        assert in_phase("body_filter")[:3] == order

    run(story())


def test_later_plugins_when_one_answers() -> None:
    """Their access is skipped, their other phases run; the answer is the gateway's and counted once."""

    async def story() -> None:
        Recorder.acts["bot-detection.access"] = lambda exchange: exit_json(418, {"message": "no"}, ((b"X-A", b"1"),))
        async with plugged({"name": "cors"}, {"name": "bot-detection"}) as p:
            answer = await p.ask()
            assert (answer.status, answer.body, answer.headers["x-a"]) == (418, b'{"message":"no"}', ["1"])
            assert answer.headers["content-type"] == ["application/json; charset=utf-8"]
            assert (p.gateway.counts(), p.upstream.heads) == ({("r", 418, 0): 1}, [])
        assert phases("bot-detection") == ["access", "header_filter", "body_filter", "log"]
        assert phases("cors") == ["header_filter", "body_filter", "log"]

    run(story())


def boom(exchange: ExchangeView) -> Answer | None:
    """A fault."""
    raise ZeroDivisionError


def test_request_when_a_plugin_crashes(caplog: pytest.LogCaptureFixture) -> None:
    """In access it is answered 500; in every other phase the fault is logged and the answer goes on."""

    async def story() -> None:
        Recorder.acts["cors.access"] = boom
        async with plugged({"name": "cors"}) as p:
            answer = await p.ask()
            assert answer.status == 500
            assert b'"message":"An unexpected error occurred"' in answer.body
            assert p.gateway.counts() == {("r", 500, 0): 1}
        Recorder.acts.clear()
        for phase in ("rewrite", "header_filter", "body_filter", "log"):
            Recorder.acts[f"cors.{phase}"] = boom
        async with plugged(more={"plugins": [{"name": "cors"}]}) as p:
            answer = await p.ask()
            assert (answer.status, answer.body) == (200, b"hello")
            assert (await p.ask()).status == 200

    run(story())
    for phase in ("access", "rewrite", "header_filter", "body_filter", "log"):
        assert f"failed in {phase}" in caplog.text


def test_global_plugins_when_no_route_was_reached() -> None:
    """404s and heads nobody can trust meet header_filter, body_filter and log of global instances, and no access."""

    async def story() -> None:
        Recorder.acts["cors.header_filter"] = lambda exchange: exchange.response_fields.set(b"X-Seen", b"yes")
        route = {"paths": ["/only"]}
        async with plugged({"name": "bot-detection"}, route=route, more={"plugins": [{"name": "cors"}]}) as p:
            answer = await p.ask("/elsewhere")
            assert (answer.status, answer.headers["x-seen"]) == (404, ["yes"])
            assert b"no Route matched" in answer.body
            assert (await p.ask("/%00")).headers["x-seen"] == ["yes"]
            assert (await p.ask(Content_Length="x")).headers["x-seen"] == ["yes"]
        assert set(phases("cors")) == {"rewrite", "header_filter", "body_filter", "log"}
        assert phases("bot-detection") == []

    run(story())


def test_plugins_when_a_route_has_no_service_or_another_scheme() -> None:
    """Without a service plugins run first, then comes the 503; a redirect to HTTPS comes before plugins."""

    async def story() -> None:
        Recorder.acts["bot-detection.access"] = lambda exchange: (
            error(403) if b"x-bad" in exchange.request_fields else None
        )
        routes = [
            {"name": "bare", "paths": ["/bare"], "plugins": [{"name": "bot-detection"}]},
            {"name": "tls", "paths": ["/tls"], "protocols": ["https"], "plugins": [{"name": "bot-detection"}]},
        ]
        async with plugged(more={"routes": routes}) as p:
            assert (await p.ask("/bare")).status == 503
            assert (await p.ask("/bare", X_Bad="1")).status == 403
            assert in_phase("access") == ["bot-detection"] * 2
            assert (await p.ask("/tls", X_Bad="1")).status == 426
            assert in_phase("access") == ["bot-detection"] * 2

    run(story())


BOB = "b40c0003-2f75-5879-a3c5-52b1e9b7f6e3"


def scopes(*, leave_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """One instance for each scope, called by its scope, of a plugin that runs after key-auth."""
    bound = {"r": {"route": "r"}, "s": {"service": "s"}, "c": {"consumer": BOB}}
    plugins = [
        {
            "name": "prometheus",
            "instance_name": "".join(letters) or "global",
            **{k: v for each in letters for k, v in bound[each].items()},
        }
        for letters in ("rsc", "rc", "sc", "rs", "c", "r", "s", "")
        if (letters or "global") not in leave_out
    ]
    return {
        "plugins": plugins,
        "consumers": [{"username": "bob", "id": BOB, "keyauth_credentials": [{"key": "k"}]}],
    }


SPECIFIC = ("rsc", "rc", "sc", "rs", "c", "r", "s", "global")


@pytest.mark.parametrize("count", range(9))
def test_instance_when_several_apply(count: int) -> None:
    """The most specific one, and no other (Kong's order); what is bound to a consumer needs the consumer to be known."""

    async def story() -> None:
        gone = frozenset(SPECIFIC[:count])
        async with plugged({"name": "key-auth", "config": {"anonymous": "anon"}}, more=_with_anonymous(gone)) as p:
            for key, expected in (("k", SPECIFIC), ("", ("rs", "r", "s", "global"))):
                seen.clear()
                assert (await p.ask(apikey=key)).status == 200
                left = [name for name in expected if name not in gone]
                assert in_phase("access") == left[:1]
                assert in_phase("log") == left[:1]

    run(story())


def _with_anonymous(gone: frozenset[str]) -> dict[str, Any]:
    config = scopes(leave_out=gone)
    config["consumers"].append({"username": "anon"})
    return config


def test_consumer_scope_when_a_plugin_runs_before_authentication() -> None:
    """It is not found then: nobody is known yet."""

    async def story() -> None:
        config = scopes(leave_out=frozenset(SPECIFIC))
        config["plugins"] = [
            {"name": "bot-detection"},
            {"name": "cors", "instance_name": "mine"},
            *_for_bob("correlation-id", "prometheus"),
        ]
        async with plugged({"name": "key-auth"}, more=config) as p:
            assert (await p.ask(apikey="k")).status == 200
            assert in_phase("log") == ["bot-detection", "mine", "prometheus-bob"]

    run(story())


def _for_bob(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "instance_name": f"{name}-bob", "consumer": BOB} for name in names]


def test_disabled_instance_gives_way_to_a_less_specific_one() -> None:
    """`enabled: false` is as if it were not there."""

    async def story() -> None:
        off = {"name": "cors", "instance_name": "route", "enabled": False}
        async with plugged(off, more={"plugins": [{"name": "cors", "instance_name": "global"}]}) as p:
            await p.ask()
            assert in_phase("access") == ["global"]

    run(story())


def test_waiting_plugin_sees_the_body_and_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Access runs in a task, in order; the body that came meanwhile goes to the upstream whole; pipelined requests wait their turn."""

    async def story() -> None:
        monkeypatch.setattr(Recorder, "waits", True)
        async with plugged({"name": "cors"}, {"name": "bot-detection"}) as p:
            for body in (b"", b"x", b"y" * 70_000, b"z" * (3 << 20)):
                assert (await p.ask(method="POST", body=body)).status == 200
                assert p.bodies[-1] == body
            assert in_phase("access") == ["bot-detection", "cors"] * 4
            Recorder.acts["cors.access"] = boom
            assert (await p.ask()).status == 500

    run(story())


def test_fields_and_body_when_a_plugin_edits_the_response() -> None:
    """Lines are set, added and removed; a body of another length is framed anew; values cannot start a line of their own."""

    def edit(exchange: ExchangeView) -> None:
        fields = exchange.response_fields
        fields.remove(b"x-gone")
        fields.set(b"X-Set", b"a\r\nX-Evil: 1")
        fields.add(b"X-Two", b"2")

    class Doubles(Recorder):
        PRIORITY = 1
        alters_body = True

        def body_filter(self, exchange: ExchangeView, data: bytes, ended: bool) -> bytes:
            return data * 2

    async def story() -> None:
        Recorder.acts["cors.header_filter"] = edit
        upstream_head = b"HTTP/1.1 200 OK\r\nX-Gone: 1\r\nX-Two: 1\r\nX-Set: 0\r\n"
        real = registry.load
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registry, "load", lambda name: Doubles if name == "prometheus" else real(name))
            async with plugged({"name": "cors"}, {"name": "prometheus"}) as p:
                for framing in (
                    b"Content-Length: 2\r\n\r\nab",
                    b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                ):
                    p.answer = upstream_head + framing
                    answer = await p.ask()
                    assert (answer.body, answer.headers["x-two"]) == (b"abab", ["1", "2"])
                    assert answer.headers["x-set"] == ["a  X-Evil: 1"]
                    assert not {"x-gone", "x-evil"} & answer.headers.keys()

    run(story())


@pytest.mark.parametrize("path", ["/", "/refused", "/nowhere"])
def test_nothing_is_left_of_an_exchange_for_the_collector(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers collect once a second: whatever is a cycle would pile up meanwhile, at thousands of requests a second."""

    def count() -> int:
        return sum(isinstance(each, PluginRun) for each in gc.get_objects())

    async def story() -> None:
        def refuse(exchange: ExchangeView) -> Answer | None:
            return error(403) if exchange.path == b"/refused" else None

        Recorder.acts["cors.access"] = refuse
        route = {"paths": ["~/$", "/refused"]}
        async with plugged(more={"plugins": [{"name": "cors"}]}, route=route) as p:
            gc.collect()
            gc.disable()
            try:
                before = count()
                for _ in range(3):
                    await p.ask(path)
                assert count() == before
            finally:
                gc.enable()

    run(story())


def test_configuration_when_a_handler_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the plugin, and what served goes on serving."""

    class Refuses(Recorder):
        def __init__(self, plugin: Any, node: Any) -> None:
            raise PluginError("config.x: no")

    async def story() -> None:
        async with plugged({"name": "cors"}) as p:
            monkeypatch.setattr(registry, "load", lambda name: Refuses)
            with pytest.raises(PluginError, match=r"plugin 'cors' .*config.x: no"):
                p.gateway.load({"_format_version": "3.0", "plugins": [{"name": "cors"}]})
            assert (await p.ask()).status == 200

    run(story())
