import cython

from kongdp.http1.parser cimport HeadLimits
from kongdp.proxy.respond cimport Stamps
from kongdp.proxy.ways cimport RouteTable


cdef class Limits:
    cdef readonly HeadLimits head
    cdef readonly long long body_bytes_max
    cdef readonly long long body_buffer_bytes
    cdef readonly long long response_buffer_bytes
    cdef readonly long long stream_buffer_bytes
    cdef readonly long long pipeline_bytes_max
    cdef readonly long long linger_bytes_max
    cdef readonly double linger_s
    cdef readonly double linger_total_s
    cdef readonly long upstream_head_bytes_max
    cdef readonly double header_timeout_s
    cdef readonly double body_timeout_s
    cdef readonly double send_timeout_s
    cdef readonly double keepalive_timeout_s
    cdef readonly long keepalive_requests
    cdef readonly long connections_max


cdef class RequestIds:
    cdef bytes _batch
    cdef Py_ssize_t _next

    @cython.locals(position=Py_ssize_t, batch="const char *")
    cpdef bytes take(self)


cdef class Environment:
    cdef public object loop
    cdef public object clock
    cdef public RouteTable snapshot
    cdef public object pools
    cdef public object resolver
    cdef public object dialer
    cdef public object counters
    cdef public unsigned long long[::1] slots
    cdef public object row_of
    cdef public Limits limits
    cdef public Stamps stamps
    cdef public object trust
    cdef public object pages
    cdef public bytes charset
    cdef public object retry_rules
    cdef public object access_log
    cdef public object spill
    cdef public bint debug_header
    cdef public RequestIds request_ids
    cdef public set connections
    cdef public double now
    cdef public double sweep_period_s
    cdef public bint draining
    cdef public long requests_slot
    cdef public long reused_slot

    cpdef double deadline_in(self, double seconds)
