"""How does a connection to an upstream come to be?  Name, address, TLS; the native pool takes it from there."""
