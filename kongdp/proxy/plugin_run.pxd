import cython

from kongdp.http1.messages cimport ResponseHead
from kongdp.plugins.fields cimport FieldLines
from kongdp.proxy.answers cimport Answers


cdef class PluginRun:
    cdef object _body_limit
    cdef object _body_wanted
    cdef object _chain
    cdef Answers _exchange
    cdef object _match
    cdef object _task
    cdef public object consumer
    cdef public object credential
    cdef public object groups
    cdef public bytes host_line
    cdef public object identities
    cdef public bytes kept
    cdef public dict notes
    cdef public bytes query
    cdef public FieldLines request_fields
    cdef public FieldLines response_fields
    cdef public object snapshot
    cdef public list tries
    cdef public bytes upstream_path

    cpdef bint enter(self, plugins, match) except -1
    cpdef bint _passes(self, answer) except -1
    @cython.locals(fields=FieldLines)
    cpdef bytes response_begins(self, ResponseHead head, bytes body, bint ended)
    cdef _filter_header(self)
    cpdef bytes filter_body(self, bytes data, bint ended)
    cpdef tried(self, transport)
    cpdef ended(self)
