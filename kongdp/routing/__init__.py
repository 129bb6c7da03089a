"""Which route answers a request: path, host, method, header and SNI matching. Pure."""
