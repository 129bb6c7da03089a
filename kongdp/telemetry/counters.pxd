import cython

cdef long _SMALL, _KONG_SUM, _SUM
cdef tuple _KONG_INDEX, _INDEX


cdef class Coded:
    cdef public dict codes
    cdef public long ingress
    cdef public long egress

    cpdef long add_code(self, long code_source) except -1


cdef class RouteCounters(Coded):
    cdef object _segment
    cdef unsigned long long[::1] _slots
    cdef bytes _id
    cdef readonly dict _consumers
    cdef public long kong_latency
    cdef public long upstream_latency
    cdef public long request_latency

    cpdef open(self)
    @cython.locals(slots="unsigned long long[::1]", who=Coded, index=object, first=long, bucket=long)
    cpdef count(self, long code_source, long long bytes_in, long long bytes_out, long kong_ms, long upstream_ms, long request_ms, ConsumerCounters consumer=*)


cdef class UncountedRoute(RouteCounters):
    cpdef count(self, long code_source, long long bytes_in, long long bytes_out, long kong_ms, long upstream_ms, long request_ms, ConsumerCounters consumer=*)


cdef class ConsumerCounters(Coded):
    cdef object _segment
    cdef bytes _route_id
    cdef bytes _consumer_id
