import cython

from kongdp._monotonic cimport monotonic

from kongdp.proxy.answers cimport Answers
from kongdp.proxy.environment cimport Environment
from kongdp.proxy.forward cimport request_head
from kongdp.proxy.plan cimport RoutePlan
from kongdp.proxy.relay cimport RequestBody
from kongdp.upstream.connection cimport UpstreamConnection
from kongdp.upstream.destination cimport Destination
from kongdp.upstream.pool cimport Pool

cdef long _JOINED


cdef class Tries(Answers):
    cdef bint _blocked
    cdef Destination _destination
    cdef bint _fresh_only
    cdef bint _reused
    cdef bint _spare_try
    cdef tuple _tried
    cdef long _tries_left
    cdef tuple _unnamed
    cdef long long _unsent_bytes

    cdef _prepare_tries(self, RoutePlan plan)
    cpdef request_body(self, bytes data, bint ended)
    cpdef request_body_fails(self, status, message)
    @cython.locals(plan=RoutePlan, destination=Destination)
    cdef _next_try(self)
    @cython.locals(plan=RoutePlan, env=Environment)
    cdef _connect(self, long attempt)
    @cython.locals(pool=Pool, env=Environment, idle=UpstreamConnection)
    cpdef pool_has_room(self)
    @cython.locals(plan=RoutePlan, env=Environment, body=RequestBody)
    cdef _send(self, UpstreamConnection connection)
    cpdef upstream_writable(self, bint writable)
