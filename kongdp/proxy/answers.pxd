from kongdp._monotonic cimport monotonic

from kongdp.http1.messages cimport RequestHead
from kongdp.proxy.addresses cimport ClientAddress
from kongdp.proxy.environment cimport Environment
from kongdp.proxy.plan cimport RoutePlan
from kongdp.proxy.relay cimport RequestBody
from kongdp.proxy.ways cimport Way
from kongdp.telemetry.counters cimport RouteCounters
from kongdp.upstream.connection cimport Receiver, UpstreamConnection
from kongdp.upstream.pool cimport Pool


cdef class Client:
    cdef public Environment env
    cdef public bytes scheme
    cdef public long port
    cdef public object transport
    cdef public ClientAddress address
    cdef public bytes sni
    cdef public object tunnel
    cdef public object spill
    cdef public long number
    cdef public long requests
    cdef public bytes host_field
    cdef public bytes host
    cdef public bint lingers
    cdef public bint reads_ahead
    cdef public Answers exchange

    cpdef bint may_keep_alive(self, RequestHead head)
    cpdef exchange_ended(self, bint keep)
    cpdef read_ahead(self, bint wanted)
    cpdef tunnel_opened(self)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cpdef hold(self)
    cpdef release(self)
    cpdef abort(self)


cdef class Answers(Receiver):
    cdef public Environment env
    cdef public Client client
    cdef public RequestHead head
    cdef public double started
    cdef public bytes request_id
    cdef public double deadline
    cdef public Way way
    cdef public RoutePlan plan
    cdef public object plugins
    cdef public UpstreamConnection upstream
    cdef public int status
    cdef public int source
    cdef public long long bytes_in
    cdef public long long bytes_out
    cdef public long long head_bytes_out
    cdef public long proxy_ms
    cdef public long upstream_ms
    cdef public bytes host
    cdef public bytes path
    cdef public bytes query
    cdef public bytes raw_path
    cdef public bytes upstream_path
    cdef RequestBody _body
    cdef bint _begun
    cdef bint _finished
    cdef double _balanced
    cdef long _attempt
    cdef int _phase
    cdef Pool _pool
    cdef bint _keep
    cdef bint _switched

    cpdef take_on(self, Environment env, Client client, RequestHead head, double started)
    cpdef begin(self)
    cpdef request_body(self, bytes data, bint ended)
    cpdef client_writable(self, bint writable)
    cpdef client_gone(self)
    cdef _abort_both(self)
    cdef _drop_upstream(self)
    cpdef pool_has_room(self)
    cdef _count(self)
    cdef _finish(self)
