from kongdp.upstream.pool cimport Pool


cdef class Destination:
    cdef public str host
    cdef public bytes host_line
    cdef public long port
    cdef public object tls
    cdef object _pools
    cdef object _resolver
    cdef long _next
    cdef tuple _addresses
    cdef tuple _pools_of

    cpdef next_pool(self, double now, Pool failed=*)
