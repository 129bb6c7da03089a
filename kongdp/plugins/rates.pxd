import cython


cdef int KEYS_IN_BUCKET, _WORDS, _BUCKET_WORDS


cdef class SharedRates:
    cdef unsigned long long[::1] _words
    cdef unsigned long long _buckets
    cdef tuple _lanes
    cdef Py_ssize_t _mine

    @cython.locals(digest="unsigned long long", bucket=Py_ssize_t, total="unsigned long long", lane=Py_ssize_t, at=Py_ssize_t,
                   index=Py_ssize_t, words="unsigned long long[::1]")
    cpdef used(self, tuple place, double now)
    @cython.locals(digest="unsigned long long", bucket=Py_ssize_t, at=Py_ssize_t, index=Py_ssize_t, chosen=Py_ssize_t,
                   words="unsigned long long[::1]")
    cpdef add(self, tuple place, double until, double now)
    @cython.locals(digest="unsigned long long")
    cpdef tuple place(self, bytes key)
