cpdef double monotonic() except? -1
