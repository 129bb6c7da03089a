# cython: language_level=3, boundscheck=False, wraparound=False
"""The values of a field in a head, for compiled modules: line after line, nothing copied but what is found. The plain module of this name
is `_lines.py`; a property test holds the two equal.

PERF: a search in the lower-cased head takes 4,900 instructions a name (callgrind, key-auth asks for six), this 900.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr


cdef const char *_line_end(const char *at, const char *end) noexcept:
    """The CR of the next CRLF; NULL where there is none."""
    cdef const char *found = at
    while True:
        found = <const char *>memchr(found, 10, end - found)
        if found == NULL:
            return NULL
        if found > at and (found - 1)[0] == 13:
            return found - 1
        found += 1


cdef bint _is_named(const char *line, const char *name, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    cdef char one
    for i in range(size):
        one = line[i]
        if 65 <= one <= 90:
            one += 32
        if one != name[i]:
            return False
    return True


cpdef list find_values(bytes head, bytes name):
    """The value of every line of that name (lower case) behind the start line, without the blanks around it."""
    cdef const char *wanted = PyBytes_AS_STRING(name)
    cdef const char *at = PyBytes_AS_STRING(head)
    cdef const char *end = at + PyBytes_GET_SIZE(head)
    cdef const char *start
    cdef const char *stop
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    cdef list found = []
    while True:
        at = _line_end(at, end)
        if at == NULL:
            return found
        at += 2
        if end - at > size and at[size] == 58 and _is_named(at, wanted, size):
            start = at + size + 1
            stop = _line_end(start, end)
            if stop == NULL:
                return found
            at = stop
            while start < stop and (start[0] == 32 or start[0] == 9):
                start += 1
            while stop > start and ((stop - 1)[0] == 32 or (stop - 1)[0] == 9):
                stop -= 1
            found.append(PyBytes_FromStringAndSize(start, stop - start))
