"""A gzip file put together from pieces that were compressed before: only what changed is compressed again.

In: texts and, for each, its piece.  Out: one gzip member of all of them. A piece ends on a byte and refers to nothing before
it (a full flush), so that pieces of different times stand side by side. Cold; compressing 3 MB takes 50 ms, which an edit
among 10,000 routes would otherwise wait for.
Source: RFC 1951 section 3.2.3, RFC 1952 section 2.3; pigz joins its threads' output in the same way.
"""

import struct
import zlib
from collections.abc import Iterable

from kongdp.sync.messages import GZIP_LEVEL

# No name, no time, made on Unix.
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
# An empty block that says it is the last.
_END = b"\x03\x00"


def piece(text: bytes) -> bytes:
    """A text compressed for `join`."""
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)


def join(texts: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The gzip file of all texts, each given with its piece, in order."""
    parts, checksum, size = [_HEAD], 0, 0
    for text, compressed in texts:
        parts.append(compressed)
        checksum = zlib.crc32(text, checksum)
        size += len(text)
    return b"".join((*parts, _END, struct.pack("<II", checksum, size & 0xFFFFFFFF)))
