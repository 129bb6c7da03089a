"""ETag and If-Match of our own endpoints: who edits what has changed meanwhile is told so instead of undoing it.

In: what an answer shows, and the request's If-Match.  Out: an ETag; or ApiError 412. An ETag names a state, not a
representation: it is strong, and the same for every caller. Cold. Source: RFC 9110 sections 8.8.3 and 13.1.1.
"""

import hashlib
import re
from typing import Annotated, Any

import orjson
from fastapi import Header
from fastapi.responses import JSONResponse

from kongdp.controlplane.api.problems import ApiError

IfMatch = Annotated[
    str | None, Header(max_length=1000, description="ETag of what the caller has seen; 412 when it has changed since")
]
_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def etag(state: Any) -> str:
    """The ETag of a state: a revision or edition number, or a digest of a JSON value."""
    if isinstance(state, int):
        return f'"{state}"'
    digest = hashlib.sha256(orjson.dumps(state, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f'"{digest[:32]}"'


def tagged(body: Any, state: Any, status: int = 200) -> JSONResponse:
    """An answer with its ETag."""
    return JSONResponse(body, status, {"ETag": etag(state)})


def check(if_match: str | None, state: Any) -> None:
    """Raise ApiError 412 unless the caller's If-Match names this state; `state` None: there is nothing."""
    if if_match is None or (if_match.strip() == "*" and state is not None):
        return
    if state is None or etag(state) not in {f'"{tag}"' for tag in _TAG.findall(if_match)}:
        raise ApiError(412, "precondition failed: it has changed since; read it again")


def expected_number(if_match: str | None) -> int | None:
    """The revision or edition that an If-Match names; -1, which none has, when it names no number."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _TAG.findall(if_match)
    return int(found[0]) if len(found) == 1 and re.fullmatch(r"\d{1,18}", found[0], re.ASCII) else -1
