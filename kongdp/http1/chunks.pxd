cdef int _SIZE, _DATA, _DATA_END, _TRAILERS, _DONE


cdef class ChunkWalker:
    cdef bint _payload
    cdef int _state
    cdef long long _remaining
    cdef bytes _held
    cdef long _trailer_bytes
    cdef long _extension_bytes
    cdef public long long size

    cpdef tuple feed(self, bytes data)
    cdef tuple _size(self, bytes data, Py_ssize_t start, Py_ssize_t end)
    cdef bytes _give_on(self, bytes data, Py_ssize_t position, Py_ssize_t verbatim_from, list out)
