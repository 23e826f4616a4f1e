"""Opening of upstream connections: name resolution, TCP connect and TLS handshake for the native connection pool."""
