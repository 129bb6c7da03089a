cdef class RequestBody:
    cdef long long _bound
    cdef list _held
    cdef public bint ended
    cdef public long long held_bytes
    cdef public long long length
    cdef public long long received
    cdef public bint replayable
    cdef public bint streamed_chunked

    cpdef add(self, bytes data, bint ended)
    cpdef bytes framing_line(self)
    cpdef bytes opening(self)
    cpdef bytes pass_on(self, bytes data, bint ended)
