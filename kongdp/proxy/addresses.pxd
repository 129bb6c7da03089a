from kongdp.http1.messages cimport RequestHead


cdef class ClientAddress:
    cdef public str peer
    cdef public str source
    cdef public bint trusted
    cdef public bytes scheme
    cdef public long port
    cdef bytes _plain_lines
    cdef bytes _host
    cdef bytes _lines_to_path

    cpdef bytes lines_to_path(self, bytes host)
    cpdef bytes forwarded_lines(self, RequestHead head, bytes host, bytes raw_path, bytes prefix, trust)
