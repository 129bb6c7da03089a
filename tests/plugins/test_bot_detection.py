"""bot-detection through a gateway: what passes, what is refused, what is remembered."""

from typing import Any

import pytest

from kongdp.entities.model import Plugin
from kongdp.plugins.base import Node
from kongdp.plugins.bot_detection import handler
from tests.support.loops import run
from tests.support.plugged import plugged

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0 Safari/537.36"
GOOGLE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

CASES: list[tuple[dict[str, Any], list[str], int]] = [
    ({}, [], 200),
    ({}, [""], 200),
    ({}, [FIREFOX], 200),
    ({}, [CHROME], 200),
    ({}, ["curl/8.4.0"], 200),
    ({}, ["Robotics-Client/1.0"], 200),
    ({}, ["Mozilla/5.0 (Linux; Android 9; CUBOT X18) AppleWebKit/537.36 Chrome/119.0"], 200),
    ({}, [GOOGLE], 403),
    ({}, ["Googlebot-Image/1.0"], 403),
    ({}, ["Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"], 403),
    ({}, ["facebookexternalhit/1.1"], 403),
    ({}, ["Baiduspider+(+http://www.baidu.com/search/spider.htm)"], 403),
    ({}, ["Scrapy/2.11 (+https://scrapy.org)"], 403),
    ({"allow": ["Googlebot"]}, [GOOGLE], 200),
    ({"deny": ["^curl/"]}, ["curl/8.4.0"], 403),
    ({"deny": ["^curl/"]}, [FIREFOX], 200),
    ({"allow": ["curl/8"], "deny": ["^curl/"]}, ["curl/8.4.0"], 200),
    ({}, [FIREFOX, GOOGLE], 400),
]


@pytest.mark.parametrize(("config", "agents", "status"), CASES)
def test_agent_when_it_is_judged(config: dict[str, Any], agents: list[str], status: int) -> None:
    """The same the second time, when it is remembered."""

    async def story() -> None:
        async with plugged({"name": "bot-detection", "config": config}) as p:
            for _ in range(2):
                seen = await p.ask(user_agent=agents)
                assert seen.status == status
                if status == 403:
                    assert b'"message":"Forbidden"' in seen.body

    run(story())


def test_memory_of_agents_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names clients invent."""
    monkeypatch.setattr(handler, "AGENTS_MAX", 10)
    plugin = handler.BotDetection(Plugin("1", "bot-detection", None, None, None, None, (), True, {}, ()), Node())

    class Exchange:
        def __init__(self, agent: bytes) -> None:
            self.request_fields = self
            self._agent = agent

        def all(self, name: bytes) -> list[bytes]:
            return [self._agent]

    for number in range(100):
        assert plugin.access(Exchange(b"x%d" % number)) is None  # type: ignore[arg-type]
        assert len(plugin._known) <= 10
