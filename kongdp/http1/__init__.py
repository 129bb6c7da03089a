"""HTTP/1.x without I/O (RFC 9110, RFC 9112): bytes in, values out."""
