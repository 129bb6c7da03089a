from kongdp.http1._head cimport read_request, read_response
from kongdp.http1.messages cimport RequestHead, ResponseHead


cdef class HeadLimits:
    cdef readonly long line_bytes_max
    cdef readonly long field_bytes_max
    cdef readonly long head_bytes_max
    cdef readonly long fields_max


cpdef RequestHead try_request_head(bytes data, HeadLimits limits)
cpdef ResponseHead try_response_head(bytes data, bytes charset, long head_bytes_max)
cpdef RequestHead parse_request_head(bytes raw, HeadLimits limits)
