import cython

from kongdp.http1.chunks cimport ChunkWalker
from kongdp.http1.messages cimport ResponseHead
from kongdp.http1.parser cimport try_response_head
from kongdp.upstream.pool cimport Pool, Poolable

cdef long _COPIED
cdef int _NOTHING, _HEAD, _LENGTH, _CHUNKS, _UNTIL_CLOSE, _TUNNEL


cdef class Receiver:
    cdef public bytes method
    cdef public bint chunks_as_payload

    cpdef response_begins(self, ResponseHead head, body, bint ended)
    cpdef response_goes_on(self, bytes data, bint ended)
    cpdef upstream_writable(self, bint writable)


cdef class UpstreamConnection(Poolable):
    cdef public Pool pool
    cdef bytes _charset
    cdef long _head_bytes_max
    cdef public object transport
    cdef public bint lost
    cdef public bint adopted
    cdef bint _paused
    cdef bint _peer_ended
    cdef Receiver _receiver
    cdef int _state
    cdef bytes _buffer
    cdef long long _remaining
    cdef long _interim_bytes
    cdef ChunkWalker _walker
    cdef bint _reusable

    cpdef begin(self, Receiver receiver)
    cpdef bint adopt(self)
    cpdef detach(self)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cpdef bint is_reusable(self)
    cpdef bint is_flushed(self)
    cpdef close(self)
    cpdef data_received(self, bytes data)
    cdef _unasked(self)
    @cython.locals(head=ResponseHead, raw="const char *", rest=bytes, size=Py_ssize_t)
    cdef _head(self, Receiver receiver, bytes data)
    cdef bint _interim(self, Receiver receiver, ResponseHead head, bytes rest) except -1
    @cython.locals(missing="long long", count=Py_ssize_t)
    cdef _body_begins(self, Receiver receiver, ResponseHead head, rest)
    cdef _deliver_last(self, Receiver receiver, ResponseHead head, body, bint extra)
    @cython.locals(missing="long long")
    cdef _length(self, Receiver receiver, bytes data)
    cdef _chunks(self, Receiver receiver, bytes data)
    cdef _end(self, Receiver receiver, bytes data)
    cdef _fail(self, Receiver receiver, detail)
