"""Keys, certificates, TLS contexts, and when and how to renew."""
