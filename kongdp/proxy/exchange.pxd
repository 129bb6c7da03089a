from kongdp._monotonic cimport monotonic

from kongdp.http1.messages cimport RequestHead, ResponseHead
from kongdp.proxy.answers cimport Client
from kongdp.proxy.environment cimport Environment
from kongdp.proxy.relay cimport RequestBody
from kongdp.proxy.respond cimport Stamps, proxy_latencies
from kongdp.proxy.tries cimport Tries
from kongdp.upstream.connection cimport UpstreamConnection


cdef class Exchange(Tries):
    cdef bint _until_close

    cpdef begin(self)
    cdef bytes _read_target(self)
    cdef _await_body(self, plan)
    cdef bint _gate(self, plan) except -1
    cpdef response_begins(self, ResponseHead head, body, bint ended)
    cdef bytes _extra_lines(self, ResponseHead head)
    cdef tuple _response_framing(self, ResponseHead head, body, bint ended)
    cpdef response_goes_on(self, bytes data, bint ended)
    cpdef client_writable(self, bint writable)
