import cython

from kongdp._join cimport join
from kongdp._monotonic cimport monotonic

from kongdp.http1.messages cimport RequestHead, ResponseHead
from kongdp.http1.writer cimport content_length_line
from kongdp.proxy.answers cimport Client
from kongdp.proxy.environment cimport Environment
from kongdp.proxy.forward cimport effective_host
from kongdp.proxy.plan cimport RoutePlan
from kongdp.proxy.relay cimport RequestBody
from kongdp.proxy.respond cimport Stamps, proxy_latencies
from kongdp.proxy.tries cimport Tries
from kongdp.proxy.ways cimport RouteTable, Way
from kongdp.upstream.connection cimport UpstreamConnection

cdef long _JOINED
cdef bytes _REQUEST_ID, _END, _HEAD_END


cdef class Exchange(Tries):
    cdef bint _until_close

    @cython.locals(head=RequestHead, client=Client, table=RouteTable, way=Way, plan=RoutePlan, host=bytes, named=bytes, authority=bytes, effective=bytes)
    cpdef begin(self)
    @cython.locals(plan=RoutePlan, way=Way)
    cdef Way _find_way(self, RouteTable table, bytes host)
    cdef bytes _read_target(self)
    cdef bint _refuses_target(self) except -1
    cdef _await_body(self, RoutePlan plan)
    cdef bint _gate(self, RoutePlan plan) except -1
    @cython.locals(now=double, client=Client, env=Environment, stamps=Stamps, plan=RoutePlan, count=Py_ssize_t, apart=bint, data=bytes, identity=bytes, framing=bytes, connection_line=bytes)
    cpdef response_begins(self, ResponseHead head, body, bint ended)
    cdef bytes _marks(self, ResponseHead head)
    cdef tuple _response_framing(self, ResponseHead head, body, bint ended)
    @cython.locals(plan=RoutePlan, env=Environment, client=Client)
    cpdef response_goes_on(self, bytes data, bint ended)
    cpdef client_writable(self, bint writable)
