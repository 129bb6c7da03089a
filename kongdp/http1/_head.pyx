# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The native kernel: one pass from the bytes of an ordinary head to a head object, judged and edited.

In: bytes that begin with a head.  Out: what `parser` makes of that head in its plain way (llhttp, `scan`, `head`), or None for anything
unusual: a head that is not whole, a character that is not allowed, folding, a bare CR or LF, a limit exceeded, a field twice that may
stand once, a field whose meaning takes more than a line to tell. The plain way then looks itself, and explains what is wrong.
So this file only has to be right about what is ordinary; property tests hold it equal to the plain way (tests/http1/test_kernel.py).
Hot: twice per request. PERF: 0.34 us for the request of bench/parts/test_head.py, 0.27 for its response.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

from kongdp.http1.messages cimport RequestHead, ResponseHead

from kongdp.http1 import fields
from kongdp.http1 import head as plain_way
from kongdp.http1.framing import LENGTH_DIGITS_MAX as DIGITS_MAX

IS_COMPILED = True

cdef enum:
    FOUND_MAX = 64
    NAME_MAX = 32
    SAME_LENGTH_MAX = 16
    METHOD_MAX = 32

cdef int NOTED = fields.NOTED  # kinds from here on are told of and kept; those below are told of and taken out
cdef int HOST = fields.HOST, CONNECTION = fields.CONNECTION, CONTENT_LENGTH = fields.CONTENT_LENGTH
cdef int TRANSFER_ENCODING = fields.TRANSFER_ENCODING, EXPECT = fields.EXPECT, UPGRADE = fields.UPGRADE, TE = fields.TE
cdef int VIA = fields.VIA, REQUEST_ID = fields.REQUEST_ID, REAL_IP = fields.REAL_IP
cdef int X_FOR = fields.X_FOR, X_PROTO = fields.X_PROTO, X_HOST = fields.X_HOST, X_PORT = fields.X_PORT
cdef int X_PATH = fields.X_PATH, X_PREFIX = fields.X_PREFIX
cdef int SERVER = fields.SERVER, DATE = fields.DATE, CONTENT_TYPE = fields.CONTENT_TYPE
cdef int LENGTH_DIGITS_MAX = DIGITS_MAX

cdef unsigned char[256] TOKEN  # an ordinary field name's character in lower case, 0 for any other (fields.PLAIN_NAME)
cdef unsigned char[256] METHOD
cdef unsigned char[256] TARGET  # 1: visible, 2: stands for itself in a path and goes out as it is (target.escape)
cdef unsigned char[256] NAME  # of a host that is a name


cdef void _allow(unsigned char *table, bytes characters, unsigned char mark):
    cdef unsigned char c
    for c in characters:
        table[c] = mark


cdef void _fill():
    cdef int c
    digits, upper, lower = b"0123456789", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz"
    for c in range(256):
        TOKEN[c] = METHOD[c] = NAME[c] = 0
        TARGET[c] = 1 if c > 32 and c != 127 else 0
    for c in b"-_" + digits + lower:
        TOKEN[c] = c
    for c in upper:
        TOKEN[c] = c | 0x20
    _allow(METHOD, upper + b"_-", 1)
    _allow(TARGET, b"!$&'()*+,/:;=@[]-._~" + digits + upper + lower, 2)
    _allow(NAME, b"-._~!$&'()*+,;=%" + digits + upper + lower, 1)


_fill()

cdef dict METHODS = {name: name for name in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")}
cdef bytes GET = METHODS[b"GET"]
cdef bytes NOTHING = b""
cdef bytes OK = b"HTTP/1.1 200 OK\r\n"
cdef list CHARSET_TYPES = sorted(plain_way.CHARSET_TYPES)


cdef class Names:
    """Field names with a meaning: lower-case name -> kind, found by length."""

    cdef list held
    cdef const char *names[NAME_MAX + 1][SAME_LENGTH_MAX]
    cdef int kinds[NAME_MAX + 1][SAME_LENGTH_MAX]
    cdef int counts[NAME_MAX + 1]

    def __cinit__(self, by_name):
        cdef int n, at
        cdef bytes name
        self.held = list(by_name)
        for n in range(NAME_MAX + 1):
            self.counts[n] = 0
        for name in self.held:
            n = len(name)
            at = self.counts[n] if n <= NAME_MAX else SAME_LENGTH_MAX
            if at >= SAME_LENGTH_MAX:
                raise ValueError("a field name is too long, or too many have the same length")
            self.names[n][at] = PyBytes_AS_STRING(name)
            self.kinds[n][at] = by_name[name]
            self.counts[n] = at + 1


cdef Names REQUEST_NAMES = Names(fields.REQUEST_FIELDS)
cdef Names RESPONSE_NAMES = Names(fields.RESPONSE_FIELDS)

cdef struct Line:
    int kind  # 0: nothing special
    Py_ssize_t start
    Py_ssize_t value
    Py_ssize_t value_end
    Py_ssize_t end  # after its CRLF


cdef extern from *:
    """
    #if defined(__SSE2__)
    #include <emmintrin.h>
    static inline Py_ssize_t kongdp_skip_visible(const unsigned char *data, Py_ssize_t at, Py_ssize_t size) {
        const __m128i below = _mm_set1_epi8(0x1f), deleted = _mm_set1_epi8(0x7f);
        while (at + 16 <= size) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(data + at));
            const __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(bytes, below), bytes), _mm_cmpeq_epi8(bytes, deleted));
            const int mask = _mm_movemask_epi8(hits);
            if (mask) return at + __builtin_ctz(mask);
            at += 16;
        }
        while (data[at] >= 32 && data[at] != 127) at++;
        return at;
    }
    #else
    #include <stdint.h>
    #include <string.h>
    static inline Py_ssize_t kongdp_skip_visible(const unsigned char *data, Py_ssize_t at, Py_ssize_t size) {
        while (at + 8 <= size) {
            uint64_t word, deleted;
            memcpy(&word, data + at, 8);
            deleted = word ^ 0x7F7F7F7F7F7F7F7FULL;
            word = ((word - 0x2020202020202020ULL) & ~word) | ((deleted - 0x0101010101010101ULL) & ~deleted);
            if (word & 0x8080808080808080ULL) break;
            at += 8;
        }
        while (data[at] >= 32 && data[at] != 127) at++;
        return at;
    }
    #endif
    """
    Py_ssize_t _skip_visible "kongdp_skip_visible"(const unsigned char *data, Py_ssize_t at, Py_ssize_t size) noexcept nogil


cdef inline Py_ssize_t _skip_value(const unsigned char *data, Py_ssize_t at, Py_ssize_t size) noexcept:
    """The first byte from `at` on that may not stand in a value. The byte behind a bytes object is 0, which may not."""
    at = _skip_visible(data, at, size)
    while data[at] == 9:
        at = _skip_visible(data, at + 1, size)
    return at


cdef inline int _kind(const unsigned char *name, Py_ssize_t length, Names names) noexcept:
    """The kind of a field of this name, in any case; 0 for one without a meaning."""
    cdef const char *known
    cdef int i
    cdef Py_ssize_t at
    for i in range(names.counts[length]):
        known = names.names[length][i]
        # most names of a length differ here; a known one has lower-case letters at both ends
        if (name[0] | 0x20) != <unsigned char>known[0] or (name[length - 1] | 0x20) != <unsigned char>known[length - 1]:
            continue
        at = 0
        while at < length and TOKEN[name[at]] == <unsigned char>known[at]:
            at += 1
        if at == length:
            return names.kinds[length][i]
    return 0


cdef inline bint _read_line(const unsigned char *data, Py_ssize_t at, Py_ssize_t size, Names names, Line *line) noexcept:
    """One field line from `at` on; False when it is not ordinary.

    PERF: values sixteen bytes at a time, names compared only where both ends agree: 326 -> 170 instructions a line, valgrind.
    """
    cdef Py_ssize_t length
    line.start = at
    while TOKEN[data[at]]:
        at += 1
    length = at - line.start
    if data[at] != 58 or not length:
        return False
    at += 1
    while data[at] == 32 or data[at] == 9:
        at += 1
    line.value = at
    at = _skip_value(data, at, size)
    if data[at] != 13 or data[at + 1] != 10:
        return False
    line.end = at + 2
    while at > line.value and (data[at - 1] == 32 or data[at - 1] == 9):
        at -= 1
    line.value_end = at
    line.kind = _kind(data + line.start, length, names) if length <= NAME_MAX else 0
    return True


cdef inline bint _is_word(const unsigned char *data, Line *line, const char *word, Py_ssize_t length) noexcept:
    """Whether the value is this word of lower-case letters and hyphens, in any case."""
    cdef Py_ssize_t i
    if line.value_end - line.value != length:
        return False
    for i in range(length):
        if TOKEN[data[line.value + i]] != <unsigned char>word[i]:
            return False
    return True


cdef inline bint _reads_connection(const unsigned char *data, Line *line, bint *keep_alive) noexcept:
    """Take one of the two usual values of Connection down; False for any other."""
    if _is_word(data, line, b"keep-alive", 10):
        keep_alive[0] = True
    elif _is_word(data, line, b"close", 5):
        keep_alive[0] = False
    else:
        return False
    return True


cdef inline long long _number(const unsigned char *data, Line *line) noexcept:
    """The digits of the value; -1 when it is anything else."""
    cdef long long number = 0
    cdef Py_ssize_t at
    if line.value == line.value_end or line.value_end - line.value > LENGTH_DIGITS_MAX:
        return -1
    for at in range(line.value, line.value_end):
        if data[at] < 48 or data[at] > 57:
            return -1
        number = number * 10 + (data[at] - 48)
    return number


cdef inline bytes _bytes(const unsigned char *data, Py_ssize_t start, Py_ssize_t end):
    return PyBytes_FromStringAndSize(<const char *>data + start, end - start)


cdef inline bint _is_host(const unsigned char *data, Line *line) noexcept:
    """A name with an optional port; an address in brackets is left to the plain way."""
    cdef Py_ssize_t at = line.value, digits
    cdef int port = 0
    while NAME[data[at]]:
        at += 1
    if at == line.value:
        return False
    if at < line.value_end and data[at] == 58:
        digits = at + 1
        at = digits
        while 48 <= data[at] <= 57 and at - digits < 5:
            port = port * 10 + (data[at] - 48)
            at += 1
        if at == digits or port > 65535:
            return False
    return at == line.value_end


cdef bytes _kept(const unsigned char *data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t *cuts, int count):
    """The bytes from `start` to `end` without the lines in `cuts` (pairs of start and end)."""
    cdef Py_ssize_t length = end - start, at = start
    cdef bytes kept
    cdef char *out
    cdef int i
    for i in range(count):
        length -= cuts[2 * i + 1] - cuts[2 * i]
    kept = PyBytes_FromStringAndSize(NULL, length)
    out = PyBytes_AS_STRING(kept)
    for i in range(count):
        memcpy(out, data + at, cuts[2 * i] - at)
        out += cuts[2 * i] - at
        at = cuts[2 * i + 1]
    memcpy(out, data + at, end - at)
    return kept


cdef inline Py_ssize_t _request_line(const unsigned char *data, Py_ssize_t size, RequestHead head):
    """Read the request line; index of the first field line, or -1."""
    cdef Py_ssize_t at = 0, target, path_end
    cdef unsigned char c, before, plain
    cdef bytes method
    while METHOD[data[at]]:
        at += 1
    if at == 0 or at > METHOD_MAX or data[at] != 32:
        return -1
    if at == 3 and memcmp(data, b"GET", 3) == 0:
        head.method = GET
    else:
        method = _bytes(data, 0, at)
        head.method = METHODS.get(method, method)
    at += 1
    target = at
    # 2 as long as the path is one that `target` would leave alone, and the method one that every target may have
    plain = 2 if data[at] == 47 and head.method in METHODS else 1
    before = 0
    while True:
        c = data[at]
        if c == 63 and at > target:
            break
        if TARGET[c] < 2:
            if not TARGET[c]:
                break
            plain = 1
        elif before == 47 and (c == 47 or c == 46):
            plain = 1
        before = c
        at += 1
    path_end = at
    while TARGET[data[at]]:
        if data[at] == 35:
            plain = 1  # "#" ends a query (target.split)
        at += 1
    if at == target or size - at < 13 or memcmp(data + at, b" HTTP/1.", 8) != 0:
        return -1
    if (data[at + 8] != 48 and data[at + 8] != 49) or data[at + 9] != 13 or data[at + 10] != 10:
        return -1
    head.target = _bytes(data, target, at)
    head.path = head.query = NOTHING
    head.minor = data[at + 8] - 48
    head.is_plain = plain == 2
    if plain != 2:
        return at + 11
    if path_end == at:
        head.path = head.target
    else:
        head.path = _bytes(data, target, path_end)
        head.query = _bytes(data, path_end, at)
    return at + 11


cpdef RequestHead read_request(bytes data, Py_ssize_t line_bytes_max, Py_ssize_t field_bytes_max, Py_ssize_t head_bytes_max, Py_ssize_t fields_max):
    """The ordinary request head that `data` begins with, or None."""
    cdef const unsigned char *raw = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), start, at
    cdef Py_ssize_t[2 * FOUND_MAX] cuts
    cdef int found = 0
    cdef Py_ssize_t count = 0
    cdef Line line
    cdef RequestHead head = RequestHead.__new__(RequestHead)
    head.content_length = -1
    start = at = _request_line(raw, size, head)
    if at < 0 or at - 2 > line_bytes_max:
        return None
    head.keep_alive = head.minor == 1
    while raw[at] != 13:
        if not _read_line(raw, at, size, REQUEST_NAMES, &line) or line.end - 2 - at > field_bytes_max:
            return None
        at = line.end
        count += 1
        if line.kind:
            if found == FOUND_MAX or not _note_request(raw, &line, head):
                return None
            cuts[2 * found] = line.start
            cuts[2 * found + 1] = at
            found += 1
    if raw[at + 1] != 10 or at + 2 > head_bytes_max or count > fields_max:
        return None
    if (head.host is None and head.minor == 1) or (head.chunked and head.content_length >= 0):
        return None
    head.raw = data if at + 2 == size else _bytes(raw, 0, at + 2)
    head.kept = _kept(raw, start, at, cuts, found)
    return head


cdef bint _note_request(const unsigned char *data, Line *line, RequestHead head):
    """Take a field with a meaning down; False when it is not ordinary."""
    cdef int kind = line.kind
    if kind == HOST:
        if head.host is not None or not _is_host(data, line):
            return False
        head.host = _bytes(data, line.value, line.value_end)
    elif kind == CONNECTION:
        if head.names_connection:
            return False
        head.names_connection = True
        return _reads_connection(data, line, &head.keep_alive)
    elif kind == CONTENT_LENGTH:
        if head.content_length >= 0:
            return False
        head.content_length = _number(data, line)
        return head.content_length >= 0
    elif kind == TRANSFER_ENCODING:
        if head.chunked or head.minor == 0 or not _is_word(data, line, b"chunked", 7):
            return False
        head.chunked = True
    elif kind == EXPECT or kind == UPGRADE or kind == TE:
        return False
    else:
        _note_claim(data, line, head)
    return True


cdef void _note_claim(const unsigned char *data, Line *line, RequestHead head):
    """What the client, or who forwarded for it, says of itself: the first line of each counts."""
    cdef int kind = line.kind
    if kind == X_FOR:
        if head.forwarded_for is None:
            head.forwarded_for = _bytes(data, line.value, line.value_end)
    elif kind == X_PROTO:
        if head.forwarded_proto is None:
            head.forwarded_proto = _bytes(data, line.value, line.value_end)
    elif kind == X_HOST:
        if head.forwarded_host is None:
            head.forwarded_host = _bytes(data, line.value, line.value_end)
    elif kind == X_PORT:
        if head.forwarded_port is None:
            head.forwarded_port = _bytes(data, line.value, line.value_end)
    elif kind == X_PATH:
        if head.forwarded_path is None:
            head.forwarded_path = _bytes(data, line.value, line.value_end)
    elif kind == X_PREFIX:
        if head.forwarded_prefix is None:
            head.forwarded_prefix = _bytes(data, line.value, line.value_end)
    elif kind == VIA:
        if head.via is None:
            head.via = _bytes(data, line.value, line.value_end)
    elif kind == REQUEST_ID:
        if head.request_id is None:
            head.request_id = _bytes(data, line.value, line.value_end)
    elif kind == REAL_IP:
        if head.real_ip is None:
            head.real_ip = _bytes(data, line.value, line.value_end)


cdef inline Py_ssize_t _status_line(const unsigned char *data, Py_ssize_t size, ResponseHead head):
    """Read the status line; index of the first field line, or -1."""
    cdef Py_ssize_t at
    if size < 17 or memcmp(data, b"HTTP/1.", 7) != 0 or data[8] != 32 or (data[7] != 49 and data[7] != 48):
        return -1
    # no interim answer: there is more to say about those
    if not (50 <= data[9] <= 57 and 48 <= data[10] <= 57 and 48 <= data[11] <= 57):
        return -1
    head.minor = data[7] - 48
    head.status = (data[9] - 48) * 100 + (data[10] - 48) * 10 + (data[11] - 48)
    if memcmp(data, <const char *>OK, 17) == 0:
        head.line = OK
        return 17
    if data[12] != 32:
        return -1
    at = _skip_value(data, 13, size)
    if data[at] != 13 or data[at + 1] != 10:
        return -1
    head.line = b"HTTP/1.1" + data[8 : at + 2]
    return at + 2


cpdef ResponseHead read_response(bytes data, bytes charset, Py_ssize_t head_bytes_max):
    """The ordinary response head that `data` begins with, or None."""
    cdef const unsigned char *raw = <const unsigned char *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), start, at
    cdef Py_ssize_t[2 * FOUND_MAX] cuts
    cdef int found = 0
    cdef Line line
    cdef ResponseHead head = ResponseHead.__new__(ResponseHead)
    head.content_length = -1
    start = at = _status_line(raw, size, head)
    if at < 0:
        return None
    head.keep_alive = head.minor == 1
    while raw[at] != 13:
        if not _read_line(raw, at, size, RESPONSE_NAMES, &line):
            return None
        at = line.end
        if line.kind:
            if found == FOUND_MAX or not _note_response(raw, &line, head, charset):
                return None
            if line.kind < NOTED:
                cuts[2 * found] = line.start
                cuts[2 * found + 1] = at
                found += 1
    if raw[at + 1] != 10 or at + 2 > head_bytes_max:
        return None
    if head.chunked and (head.content_length >= 0 or head.minor == 0 or head.status == 204):
        return None
    if head.status == 204:
        head.content_length = -1
    head.length = at + 2
    head.kept = _kept(raw, start, at, cuts, found)
    return head


cdef bint _note_response(const unsigned char *data, Line *line, ResponseHead head, bytes charset):
    """Take a field with a meaning down; False when it is not ordinary."""
    cdef int kind = line.kind
    if kind == CONTENT_LENGTH:
        if head.content_length >= 0:
            return False
        head.content_length = _number(data, line)
        return head.content_length >= 0
    if kind == CONTENT_TYPE:
        return charset is None or not _lacks_charset(data, line)
    if kind == DATE:
        head.has_date = True
    elif kind == SERVER:
        head.has_server = True
    elif kind == CONNECTION:
        if head.names_connection:
            return False
        head.names_connection = True
        return _reads_connection(data, line, &head.keep_alive)
    elif kind == TRANSFER_ENCODING:
        if head.chunked or not _is_word(data, line, b"chunked", 7):
            return False
        head.chunked = True
    elif kind == VIA or kind == UPGRADE:
        return False
    return True


cdef bint _lacks_charset(const unsigned char *data, Line *line):
    """Whether the type may be one that a charset must be appended to, which the plain way does."""
    cdef bytes type_
    cdef Py_ssize_t i, length
    for type_ in CHARSET_TYPES:
        length = PyBytes_GET_SIZE(type_)
        if line.value_end - line.value < length:
            continue
        for i in range(length):
            if (data[line.value + i] | 0x20) != <unsigned char>type_[i]:
                break
        else:
            return b";" not in data[line.value : line.value_end] or plain_way.lacks_charset(data[line.value : line.value_end])
    return False
