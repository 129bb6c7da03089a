"""Pages and filters."""

import json
from typing import Any

import pytest

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.context import NodeInfo
from kongdp.adminapi.errors import ApiError
from kongdp.adminapi.memory import MemoryStore
from kongdp.adminapi.messages import Request
from kongdp.adminapi.paging import parse_page
from kongdp.adminapi.store import TagFilter
from kongdp.entities.declarative import load
from kongdp.entities.schemas import SCHEMAS


def _api() -> AdminApi:
    config = {
        "_format_version": "3.0",
        "services": [
            {
                "name": f"s{number}",
                "host": "h",
                "tags": [f"t{number % 2}", "all"],
                "routes": [{"name": f"r{number}", "paths": ["/"], "tags": ["all"]}],
            }
            for number in range(7)
        ],
    }
    return AdminApi(MemoryStore(load(config, now=1)), SCHEMAS, NodeInfo(node_id="n", version="1"))


def _pages(path: str) -> list[list[Any]]:
    api, pages, address = _api(), [], path
    while address:
        path, _, query = address.partition("?")
        answer = json.loads(api.handle(Request("GET", path, query)).body)
        pages.append(answer["data"])
        address = answer["next"]
        assert (address is None) == ("offset" not in answer)
    return pages


@pytest.mark.parametrize(
    ("path", "sizes"),
    [
        ("/services?size=3", [3, 3, 1]),
        ("/services?size=7", [7]),
        ("/services", [7]),
        ("/services?size=2&tags=t0", [2, 2]),
        ("/services?size=2&tags=t0,all", [2, 2]),
        ("/services?size=5&tags=t0/t1", [5, 2]),
        ("/services?tags=nobody", [0]),
        ("/tags?size=10", [10, 10, 1]),
        ("/tags?size=1000", [21]),
        ("/tags/t1?size=2", [2, 1]),
        ("/services/s1/routes?size=1", [1]),
    ],
)
def test_list_when_followed_to_its_end(path: str, sizes: list[int]) -> None:
    """Pages follow each other without loss or repetition, filters and sizes kept."""
    pages = _pages(path)
    assert [len(page) for page in pages] == sizes
    seen = [json.dumps(row, sort_keys=True) for page in pages for row in page]
    assert len(set(seen)) == len(seen)
    keys = [row.get("id") or row["entity_id"] for page in pages for row in page]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ({"size": "x"}, 9, "size must be a number"),
        ({"size": "1.5"}, 9, "size must be an integer between 1 and 1000"),
        ({"size": "1001"}, 9, "size must be an integer between 1 and 1000"),
        ({"size": "nan"}, 9, "size must be an integer between 1 and 1000"),
        ({"offset": "x"}, 7, "'x' is not a valid offset: bad base64 encoding"),
        ({"offset": "!!"}, 7, "'!!' is not a valid offset: bad base64 encoding"),
        ({"offset": "eHh4"}, 7, "'eHh4' is not a valid offset: bad json encoding"),
        ({"offset": "WzVd"}, 7, "'WzVd' is not a valid offset: bad json encoding"),
        ({"tags": "a,b/c"}, 11, "invalid option (tags: invalid filter syntax)"),
        ({"tags": ""}, 11, "invalid option (tags: invalid filter syntax)"),
    ],
)
def test_parse_page_when_the_query_is_wrong(arguments: dict[str, str], code: int, message: str) -> None:
    """Sizes, offsets and filters are refused with Kong's codes."""
    with pytest.raises(ApiError) as caught:
        parse_page(arguments)
    assert caught.value.body is not None
    assert (caught.value.body["code"], caught.value.body["message"]) == (code, message)


def test_parse_page_when_kong_made_the_offset() -> None:
    """Offsets have Kong's form."""
    page = parse_page({"offset": "WyIxMTExMTExMS0xMTExLTQxMTEtODExMS0wNTA5MTMyMzgyOTEiLDJd", "tags": "a/b"})
    assert page.after == ["11111111-1111-4111-8111-050913238291", 2]
    assert page.tags == TagFilter(("a", "b"), every=False)
