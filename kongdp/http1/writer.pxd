cdef long _SMALL
cdef tuple _LENGTH_LINES

cpdef bytes content_length_line(long long length)
