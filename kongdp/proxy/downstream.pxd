import cython

from kongdp._monotonic cimport monotonic

from kongdp.http1.chunks cimport ChunkWalker
from kongdp.http1.messages cimport RequestHead
from kongdp.http1.parser cimport try_request_head
from kongdp.proxy.addresses cimport ClientAddress
from kongdp.proxy.environment cimport Environment, Limits
from kongdp.proxy.answers cimport Answers, Client
from kongdp.proxy.exchange cimport Exchange
from kongdp.proxy.tunnel cimport Tunnel

cdef int _NO_BODY, _LENGTH, _CHUNKS


cdef class DownstreamConnection(Client):
    cdef public bint writable
    cdef bytes _buffer
    cdef readonly bint _reading_paused
    cdef bint _processing
    cdef bint _ending
    cdef bint _lost
    cdef bint _misplaced
    cdef bint _expects_preamble
    cdef str _source
    cdef public double deadline
    cdef bint _head_begun
    cdef double _linger_until
    cdef long long _unsent_bytes
    cdef int _body
    cdef long long _body_remaining
    cdef ChunkWalker _walker
    cdef long long _discarding

    cpdef data_received(self, bytes data)
    cdef _rearm(self)
    cdef _process(self)
    @cython.locals(started=double, env=Environment, buffer=bytes, head=RequestHead)
    cdef bint _start_request(self) except -1
    @cython.locals(exchange=Exchange)
    cdef _begin(self, RequestHead head, double started)
    cdef _body_data(self, bytes data)
    cdef _discard(self, long long count, bint ended)
    cpdef read_ahead(self, bint wanted)
    cpdef tunnel_opened(self)
    cpdef bint may_keep_alive(self, RequestHead head)
    cpdef exchange_ended(self, bint keep)
    cdef _next_request(self)
    cpdef end(self)
    cpdef abort(self)
    cpdef hold(self)
    cpdef release(self)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cdef _pause(self)
    cdef _resume(self)
