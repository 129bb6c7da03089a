"""The kernel where it was not compiled: the ordinary head is one whose fields came before; the plain way reads every other (`parser`).

The compiled module of this name is `_head.pyx`; `_head.pxd` has its signatures.
"""

import re

from kongdp.http1.known_heads import KNOWN_HEAD_BYTES_MAX, REQUESTS, RESPONSES
from kongdp.http1.messages import RequestHead, ResponseHead

IS_COMPILED = False
"""Whether the native kernel serves."""

# what the plain way takes for a request line, where the target has origin form and no fragment
_begin = re.compile(rb"([A-Z_\-]{1,32}) ((/[!-\"$->@-~\x80-\xff]*)(\?[!-\"$-~\x80-\xff]*|)) HTTP/1\.").match


def read_request(
    data: bytes, line_bytes_max: int, field_bytes_max: int, head_bytes_max: int, fields_max: int
) -> RequestHead | None:
    """The ordinary request head that `data` begins with; None: whoever asks must look himself."""
    begin = _begin(data)
    if begin is None:
        return None
    start = begin.end()
    end = len(data)
    known = None
    if end <= KNOWN_HEAD_BYTES_MAX:
        known = REQUESTS.get(data[start:])
    if known is None:
        # a body or a next request may have come with it
        end = data.find(b"\r\n\r\n", start) + 4
        if end == len(data):
            return None
        known = REQUESTS.get(data[start:end])
        if known is None:
            return None
    if known[0] > fields_max:
        return None
    if end > line_bytes_max or end > field_bytes_max or end > head_bytes_max:
        return None
    head = RequestHead.__new__(RequestHead)
    head.raw = data if end == len(data) else data[:end]
    head.method, head.target, head.path, head.query = begin.groups()
    head.is_plain = False
    head.take(known[1])
    return head


def read_response(data: bytes, charset: bytes | None, head_bytes_max: int) -> ResponseHead | None:
    """The ordinary response head that `data` begins with; None: whoever asks must look himself."""
    end = data.find(b"\r\n\r\n") + 4
    known = RESPONSES.get(data[:end])
    if known is None or known[0] != charset or end > head_bytes_max:
        return None
    head = ResponseHead.__new__(ResponseHead)
    head.length = end
    head.take(known[1])
    return head
