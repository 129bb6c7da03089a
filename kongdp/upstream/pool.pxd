cdef class PoolLimits:
    cdef readonly long idle_max
    cdef readonly long requests_max
    cdef readonly double idle_timeout_s
    cdef readonly long connections_max
    cdef readonly long waiters_max


cdef class Poolable:
    cdef public double idle_since
    cdef public long requests


cdef class Pool:
    cdef object __weakref__
    cdef public object endpoint
    cdef public long count_open
    cdef PoolLimits _limits
    cdef list _idle
    cdef object _waiters

    cpdef Poolable try_acquire(self)
    cpdef bint may_dial(self)
    cpdef bint release(self, Poolable connection, double now)
