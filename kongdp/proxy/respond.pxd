cdef long _LATENCIES, _LATENCIES_USUAL


cdef class Stamps:
    cdef readonly bytes server
    cdef readonly bytes via
    cdef readonly bytes via_value
    cdef readonly bytes request_via
    cdef readonly bint proxy_latency
    cdef readonly bint upstream_latency
    cdef readonly bint response_latency
    cdef readonly bint upstream_status
    cdef readonly bint request_id
    cdef readonly bint request_id_upstream


cpdef bytes proxy_latencies(Stamps stamps, long proxy_ms, long upstream_ms)
