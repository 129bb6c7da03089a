import cython

from kongdp.proxy.downstream cimport DownstreamConnection
from kongdp.proxy.environment cimport Environment

cdef int _ARRIVING, _HANDSHAKE, _OPEN, _OVER
cdef Py_ssize_t _RECORD, _PIECE


cdef class TlsConnection:
    cdef readonly Environment env
    cdef object _context
    cdef object _make
    cdef object _transport
    cdef DownstreamConnection _client
    cdef int _state
    cdef public double deadline
    cdef readonly object exchange
    cdef bint _expects_preamble
    cdef bytes _preamble
    cdef str _source
    cdef object _incoming
    cdef object _outgoing
    cdef object _object
    cdef object _decrypt
    cdef object _encrypt
    cdef object _pending
    cdef bint _cut
    cdef bint _paused

    cpdef data_received(self, bytes data)
    @cython.locals(end=Py_ssize_t)
    cdef _arrive(self, bytes data)
    cdef _hand_over(self, bytes data)
    cdef _begin(self, bytes data)
    cdef _shake_hands(self)
    cdef _failed(self, str why)
    @cython.locals(client=DownstreamConnection, count=Py_ssize_t, data=bytes)
    cpdef _read(self)
    @cython.locals(data=bytes)
    cdef _flush(self)
    @cython.locals(size=Py_ssize_t, begin=Py_ssize_t)
    cpdef write(self, data)
    cpdef close(self)
    cdef _over(self)
    cpdef abort(self)
    cpdef bint is_closing(self)
