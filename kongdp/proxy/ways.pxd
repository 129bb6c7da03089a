from kongdp.proxy.plan cimport RoutePlan


cdef class Way:
    cdef public object match
    cdef public RoutePlan plan
    cdef public bytes path
    cdef public bytes prefix
    cdef public bytes prefix_lines
    cdef public bytes upstream_path


cdef class RouteTable:
    cdef public object router
    cdef public object plugins
    cdef public object identities
    cdef public bint rewrites
    cdef public dict ways
    cdef long _rest
