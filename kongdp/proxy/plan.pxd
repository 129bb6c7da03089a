from kongdp.telemetry.counters cimport RouteCounters
from kongdp.upstream.destination cimport Destination


cdef class RoutePlan:
    cdef public str route_id
    cdef public str service_id
    cdef public str route_name
    cdef public str service_name
    cdef public RouteCounters row
    cdef public object upstream_path
    cdef public bint strip_path
    cdef public bint preserve_host
    cdef public bint request_buffering
    cdef public bint response_buffering
    cdef public bint gated
    cdef public bint https_only
    cdef public long redirect_status
    cdef public bint grpc
    cdef public bint unserved
    cdef public object targets
    cdef public Destination sole
    cdef public double connect_timeout_s
    cdef public double write_timeout_s
    cdef public double read_timeout_s
    cdef public long retries
    cdef public bytes debug_lines
    cdef public object plugins
