import cython

from kongdp._join cimport join
from kongdp.http1._lines cimport find_values


cdef class FieldLines:
    cdef bytes _head
    cdef object _fixed
    cdef dict _known
    cdef list _added
    cdef object _dropped
    cdef public bytes host

    @cython.locals(found=list)
    cpdef first(self, bytes name)
    @cython.locals(found=list)
    cpdef list all(self, bytes name)
    @cython.locals(lower=bytes)
    cpdef set(self, bytes name, bytes value)
    @cython.locals(lower=bytes)
    cpdef add(self, bytes name, bytes value)
    cdef _append(self, bytes name, bytes lower, bytes value)
    cpdef remove(self, bytes name)
    cpdef bytes render(self, bytes kept)
