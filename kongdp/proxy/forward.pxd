import cython

from kongdp._join cimport join
from kongdp.http1.messages cimport RequestHead
from kongdp.proxy.addresses cimport ClientAddress
from kongdp.proxy.answers cimport Answers
from kongdp.proxy.environment cimport Environment
from kongdp.proxy.plan cimport RoutePlan
from kongdp.proxy.respond cimport Stamps
from kongdp.proxy.ways cimport Way
from kongdp.upstream.destination cimport Destination

cdef bytes _HTTP_1_1, _KEEP_ALIVE, _UPGRADE, _TRAILERS, _REQUEST_ID, _END


cpdef bytes effective_host(bytes host)
@cython.locals(head=RequestHead, env=Environment, stamps=Stamps, way=Way, address=ClientAddress, kept=bytes, host_line=bytes, via=bytes, identity=bytes, forwarded=bytes, path=bytes, after_path=bytes)
cpdef bytes request_head(Answers exchange, RoutePlan plan, Destination destination, bytes framing=*)
