from kongdp.http1.chunks cimport ChunkWalker
from kongdp.http1.messages cimport ResponseHead
from kongdp.http1.parser cimport try_response_head
from kongdp.upstream.pool cimport Pool, Poolable

cdef int _NOTHING, _HEAD, _LENGTH, _CHUNKS, _UNTIL_CLOSE, _TUNNEL


cdef class UpstreamConnection(Poolable):
    cdef public Pool pool
    cdef bytes _charset
    cdef long _head_bytes_max
    cdef public object transport
    cdef public bint lost
    cdef public bint adopted
    cdef bint _paused
    cdef bint _peer_ended
    cdef object _receiver
    cdef int _state
    cdef bytes _buffer
    cdef long long _remaining
    cdef long _interim_bytes
    cdef ChunkWalker _walker
    cdef bint _reusable

    cpdef begin(self, receiver)
    cpdef bint adopt(self)
    cpdef detach(self)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cpdef bint is_reusable(self)
    cpdef bint is_flushed(self)
    cpdef close(self)
    cpdef data_received(self, bytes data)
    cdef _unasked(self)
    cdef _head(self, receiver, bytes data)
    cdef bint _interim(self, receiver, ResponseHead head, bytes rest) except -1
    cdef _body_begins(self, receiver, ResponseHead head, rest)
    cdef _deliver_last(self, receiver, ResponseHead head, body, bint extra)
    cdef _length(self, receiver, bytes data)
    cdef _chunks(self, receiver, bytes data)
    cdef _end(self, receiver, bytes data)
    cdef _fail(self, receiver, detail)
