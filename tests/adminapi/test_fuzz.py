"""Whatever is asked of the Admin API, it answers, and what it stored stays sound."""

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kongdp.adminapi.api import AdminApi
from kongdp.adminapi.context import NodeInfo
from kongdp.adminapi.memory import MemoryStore
from kongdp.adminapi.messages import Request
from kongdp.entities.declarative import difference, dump, load
from kongdp.entities.schemas import SCHEMAS, build_schemas
from kongdp.plugins.configs import PLUGIN_SCHEMAS
from tests.support.configurations import rich_configuration

_NOW = 1_800_000_000.0
_TABLE = load(rich_configuration(), plugins=PLUGIN_SCHEMAS, now=_NOW)
_IDS = [row["id"] for rows in _TABLE.values() for row in rows.values() if "id" in row]
_SEGMENTS = st.sampled_from(
    [schema.admin_path for schema in SCHEMAS.values()]
    + ["key-auth", "service", "plugins", "targets", "all", "health", "schemas", "tags", "validate", "config", ""]
    + ["orders", "bob", "up.internal", "10.0.0.1:8000", "b.test", "flat", "h.test:81", "admins", *_IDS]
) | st.text(max_size=4)
_FIELDS = sorted({name for schema in SCHEMAS.values() for name in schema.shape.fields} | {"url", "config"})
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 70000)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["h", "/", "bob", "orders", "key-auth", "rate-limiting", "http", "grpc", *_IDS[:5]])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_FIELDS, "minute", "active", "allow"]), inner, max_size=3)
    ),
    max_leaves=5,
)
_BODIES = st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=4) | _VALUES
_REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"]),
        st.lists(_SEGMENTS, min_size=1, max_size=4),
        st.sampled_from(["", "size=2", "tags=a", "offset=x", "offset=WyJhIl0", "flatten_errors=1", "%ff=%00&a"]),
        _BODIES,
        st.sampled_from(["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]),
    ),
    min_size=1,
    max_size=4,
)


@given(_REQUESTS)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_handle_when_asked_anything(requests: list[Any]) -> None:
    """No request ends in an accident, and the rows that are left load as a configuration."""
    store = MemoryStore(_TABLE, writable=True)
    schemas = build_schemas(plugins=PLUGIN_SCHEMAS)
    info = NodeInfo(node_id="n", version="1", plugins=PLUGIN_SCHEMAS)
    api = AdminApi(store, schemas, info, clock=lambda: _NOW)
    for method, segments, query, body, media_type in requests:
        path = "/" + "/".join(quote(segment, safe="", errors="replace") for segment in segments)
        content = json.dumps(body).encode()
        response = api.handle(Request(method, path, query, {"content-type": media_type}, content))
        assert response.status < 500 or isinstance(body, list)
        if response.body:
            json.loads(response.body)
    table = load(dump(store.table), plugins=PLUGIN_SCHEMAS, now=_NOW)
    assert difference(table, load(dump(table), plugins=PLUGIN_SCHEMAS, now=_NOW)) == []
