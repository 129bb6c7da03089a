from kongdp._monotonic cimport monotonic


cdef class Tunnel:
    cdef object _client
    cdef object _upstream
    cdef object _on_end
    cdef bint _client_ended
    cdef bint _upstream_ended
    cdef bint _client_lost
    cdef bint _closing
    cdef object _slots
    cdef long _ingress
    cdef long _egress
    cdef double _stalled
    cdef long long _unsent_bytes
    cdef public double moved_at
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef public bint ended

    cpdef from_client(self, bytes data)
    cpdef from_upstream(self, bytes data)
