from kongdp.http1.messages cimport RequestHead, ResponseHead

cpdef RequestHead read_request(bytes data, Py_ssize_t line_bytes_max, Py_ssize_t field_bytes_max, Py_ssize_t head_bytes_max, Py_ssize_t fields_max)
cpdef ResponseHead read_response(bytes data, bytes charset, Py_ssize_t head_bytes_max)
