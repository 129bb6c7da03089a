# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The native kernel of the head passes: the lexical half of `scan`, in C.

One contract with `scan.scan` (plain Python): see there. What is unusual in any way (a character that is not allowed, a line without
colon, folding, a bare CR or LF, more fields with a meaning than expected) is answered with None, and the plain twin, which explains
what is wrong, takes over. So this file only has to be right about what is ordinary.
Hot: twice per request.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

cdef enum:
    FOUND_MAX = 64
    NAME_MAX = 32
    NOTED = 64  # kinds from here on are told and kept; those below are told and taken out (fields.NOTED)

cdef unsigned char[256] TOKEN
cdef unsigned char[256] VALUE


cdef void _fill():
    cdef int c
    for c in range(256):
        TOKEN[c] = 0
        # field-content of RFC 9110 section 5.5: visible, space, tab, and bytes beyond ASCII
        VALUE[c] = 1 if c == 9 or (c >= 32 and c != 127) else 0
    for c in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz":
        TOKEN[c] = c
    for c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        TOKEN[c] = c | 0x20


_fill()


cdef class Names:
    """Field names with a meaning: lower-case name -> kind, found by length and first letter."""

    cdef list _held
    cdef const char *names[NAME_MAX + 1][16]
    cdef int kinds[NAME_MAX + 1][16]
    cdef int counts[NAME_MAX + 1]

    def __cinit__(self, by_name):
        cdef int n, at
        cdef bytes name
        self._held = list(by_name)
        for n in range(NAME_MAX + 1):
            self.counts[n] = 0
        for name in self._held:
            n = len(name)
            at = self.counts[n]
            if n > NAME_MAX or at >= 16:
                raise ValueError("too many field names of one length")
            self.names[n][at] = PyBytes_AS_STRING(name)
            self.kinds[n][at] = by_name[name]
            self.counts[n] = at + 1


def scan(bytes raw, Py_ssize_t start, Names names):
    """Contract of scan.scan, or None for anything unusual."""
    cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(raw)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(raw) - 2
    cdef Py_ssize_t at = start, line, name_end, value, value_end, kept_bytes, from_, length
    cdef Py_ssize_t[FOUND_MAX] starts
    cdef Py_ssize_t[FOUND_MAX] ends
    cdef int found = 0, kind, i, count = 0
    cdef unsigned char c
    cdef char[NAME_MAX] lower
    cdef list specials = []
    cdef bytes kept
    cdef char *out
    if end < start or data[end] != 13 or data[end + 1] != 10:
        return None
    while at < end:
        line = at
        while True:
            c = TOKEN[data[at]]
            if not c:
                break
            if at - line < NAME_MAX:
                lower[at - line] = c
            at += 1
        name_end = at
        if data[at] != 58 or at == line:
            return None
        at += 1
        while data[at] == 32 or data[at] == 9:
            at += 1
        value = at
        while VALUE[data[at]]:
            at += 1
        if data[at] != 13 or at + 1 > end or data[at + 1] != 10:
            return None
        value_end = at
        at += 2
        count += 1
        length = name_end - line
        kind = 0
        if length <= NAME_MAX:
            for i in range(names.counts[length]):
                if memcmp(names.names[length][i], lower, length) == 0:
                    kind = names.kinds[length][i]
                    break
        if kind:
            if kind < NOTED:
                if found == FOUND_MAX:
                    return None
                starts[found] = line
                ends[found] = at
                found += 1
            while value_end > value and (data[value_end - 1] == 32 or data[value_end - 1] == 9):
                value_end -= 1
            specials.append((kind, raw[value:value_end]))
    if at != end:
        return None
    kept_bytes = end - start
    for i in range(found):
        kept_bytes -= ends[i] - starts[i]
    kept = PyBytes_FromStringAndSize(NULL, kept_bytes)
    out = PyBytes_AS_STRING(kept)
    from_ = start
    for i in range(found):
        memcpy(out, data + from_, starts[i] - from_)
        out += starts[i] - from_
        from_ = ends[i]
    memcpy(out, data + from_, end - from_)
    return kept, specials, count
