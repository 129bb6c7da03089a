"""The kernel where it was not compiled: no head is ordinary, so the plain way reads every one (`parser`).

The compiled module of this name is `_head.pyx`; `_head.pxd` has its signatures.
"""

from kongdp.http1.messages import RequestHead, ResponseHead

IS_COMPILED = False
"""Whether the native kernel serves."""


def read_request(
    data: bytes, line_bytes_max: int, field_bytes_max: int, head_bytes_max: int, fields_max: int
) -> RequestHead | None:
    """The ordinary request head that `data` begins with; None: whoever asks must look himself."""
    return None


def read_response(data: bytes, charset: bytes | None, head_bytes_max: int) -> ResponseHead | None:
    """The ordinary response head that `data` begins with; None: whoever asks must look himself."""
    return None
