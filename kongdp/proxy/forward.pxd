from kongdp.http1.messages cimport RequestHead
from kongdp.proxy.answers cimport Answers
from kongdp.proxy.environment cimport Environment
from kongdp.proxy.respond cimport Stamps
from kongdp.upstream.destination cimport Destination


cpdef bytes effective_host(bytes host)
cpdef bytes request_head(Answers exchange, plan, Destination destination, bytes framing=*)
