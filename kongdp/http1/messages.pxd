cdef class RequestHead:
    cdef public bytes method
    cdef public bytes target
    cdef public bytes kept
    cdef public bytes raw
    cdef public int minor
    cdef public bint keep_alive
    cdef public long long content_length
    cdef public bint chunked
    cdef public bint expect_continue
    cdef public bint websocket
    cdef public bint te_trailers
    cdef public bint is_plain
    cdef public bytes path
    cdef public bytes query
    cdef public bytes host
    cdef public bytes via
    cdef public bytes request_id
    cdef public bytes real_ip
    cdef public bytes forwarded_for
    cdef public bytes forwarded_proto
    cdef public bytes forwarded_host
    cdef public bytes forwarded_port
    cdef public bytes forwarded_path
    cdef public bytes forwarded_prefix
    cdef bint names_connection  # the kernel's own


cdef class ResponseHead:
    cdef public Py_ssize_t length
    cdef public bytes line
    cdef public bytes kept
    cdef public int status
    cdef public int minor
    cdef public bint keep_alive
    cdef public long long content_length
    cdef public bint chunked
    cdef public bint has_server
    cdef public bint has_date
    cdef public bytes upgrade
    cdef public bytes via
    cdef bint names_connection  # the kernel's own
