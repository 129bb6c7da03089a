"""The chunk walker: cuts a chunked body out of a byte stream and gives it on, re-framed canonically or as plain payload.

In: pieces of the stream as they came.  Out: the bytes to give on, and where in the piece the body ended.
House rule: what leaves is canonical whatever came: no extensions, no trailers, no leading zeros, no bare LF. Bytes that are canonical
already leave as the object that arrived, uncopied.
Hot for chunked bodies only. Bounded: a size line with its extension has at most LINE_BYTES_MAX bytes, all extensions EXTENSION_BYTES_MAX,
trailers TRAILER_BYTES_MAX.
Source: RFC 9112 section 7.1; strictness beyond it (hex digits only, CRLF only) against chunk-based request smuggling.
"""

import re

from kongdp.http1.messages import BadMessage
from kongdp.http1.writer import LAST_CHUNK

LINE_BYTES_MAX = 4096
TRAILER_BYTES_MAX = 32768
EXTENSION_BYTES_MAX = 16384
"""Of one body's chunk extensions together (RFC 9112 section 7.1.1 asks for such a bound; Node.js has the same, CVE-2024-22019)."""

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,16})(;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_SIZE_MAX = 1 << 62

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


def _bad(detail: str) -> BadMessage:
    return BadMessage(400, "Bad request", detail)


class ChunkWalker:
    """Walks one chunked body. `payload=True` gives on the data alone; otherwise the body re-framed as canonical chunks."""

    __slots__ = ("_extension_bytes", "_held", "_payload", "_remaining", "_state", "_trailer_bytes", "size")

    def __init__(self, *, payload: bool) -> None:
        self._payload = payload
        self._state = _SIZE
        self._remaining = 0
        self._held = b""
        self._trailer_bytes = 0
        self._extension_bytes = 0
        self.size = 0  # payload bytes seen so far

    @property
    def done(self) -> bool:
        """Whether the end of the body was seen."""
        return self._state == _DONE

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """Walk `data`; returns (what to give on, index in `data` of the first byte after the body, or -1 when it goes on).

        Raises BadMessage for framing that is not exactly as RFC 9112 has it; nothing of that piece is given on then.
        """
        held = len(self._held)
        if held:
            data = self._held + data
            self._held = b""
        out: list[bytes] = []
        position = verbatim_from = 0
        while True:
            if self._state == _DATA:
                take = min(self._remaining, len(data) - position)
                if self._payload and take:
                    out.append(data[position : position + take])
                position += take
                self._remaining -= take
                if self._remaining:
                    break
                self._state = _DATA_END
            if self._state == _DATA_END:
                if len(data) - position < 2:
                    if data[position:] not in (b"", b"\r"):
                        raise _bad("chunk data is not followed by CRLF")
                    break
                if data[position : position + 2] != b"\r\n":
                    raise _bad("chunk data is not followed by CRLF")
                position += 2
                self._state = _SIZE
            end = data.find(b"\r\n", position)
            if end < 0:
                if len(data) - position > LINE_BYTES_MAX:
                    raise _bad(f"chunk line longer than {LINE_BYTES_MAX} bytes")
                if b"\n" in data[position:]:
                    raise _bad("bare LF in chunk framing")
                break
            if self._state == _SIZE:
                size, digits_end = self._size(data, position, end)
                if size == 0:
                    if not self._payload:
                        out.append(data[verbatim_from:position])
                    position = verbatim_from = end + 2
                    self._state = _TRAILERS
                    continue
                if not self._payload and digits_end != end:
                    # an extension or odd spelling: give on what stands before, then the canonical size line
                    out.append(data[verbatim_from:position])
                    out.append(b"%x\r\n" % size)
                    verbatim_from = end + 2
                position = end + 2
                self._remaining = size
                self.size += size
                self._state = _DATA
                continue
            # trailers: checked, counted and dropped, as Kong's nginx does
            self._trailer_bytes += end + 2 - position
            if self._trailer_bytes > TRAILER_BYTES_MAX:
                raise _bad(f"trailers longer than {TRAILER_BYTES_MAX} bytes")
            if end == position:
                position = end + 2
                self._state = _DONE
                if not self._payload:
                    out.append(LAST_CHUNK)
                return b"".join(out), position - held
            if not _TRAILER_LINE.fullmatch(data, position, end):
                raise _bad("malformed trailer line")
            position = verbatim_from = end + 2
        return self._give_on(data, position, verbatim_from, out), -1

    def _size(self, data: bytes, start: int, end: int) -> tuple[int, int]:
        """The size a size line states, and where its canonical spelling ends (not `end` when the line must be rewritten)."""
        if end - start > LINE_BYTES_MAX:
            raise _bad(f"chunk line longer than {LINE_BYTES_MAX} bytes")
        found = _SIZE_LINE.fullmatch(data, start, end)
        if not found:
            raise _bad(f"chunk size is not hexadecimal: {data[start : min(end, start + 40)]!r}")
        digits = found[1]
        if len(digits) != end - start:
            self._extension_bytes += end - start - len(digits)
            if self._extension_bytes > EXTENSION_BYTES_MAX:
                raise _bad(f"chunk extensions of more than {EXTENSION_BYTES_MAX} bytes")
        size = int(digits, 16)
        if size > _SIZE_MAX:
            raise _bad("chunk size does not fit")
        canonical = not (digits[0] == 0x30 and len(digits) > 1)
        return size, found.end(1) if canonical else -1

    def _give_on(self, data: bytes, position: int, verbatim_from: int, out: list[bytes]) -> bytes:
        """Hold back an unfinished line (an extension may follow) and join the rest."""
        self._held = data[position:]
        if self._payload:
            return out[0] if len(out) == 1 else b"".join(out)
        if not out and verbatim_from == 0 and position == len(data):
            return data
        out.append(data[verbatim_from:position])
        return b"".join(out)
