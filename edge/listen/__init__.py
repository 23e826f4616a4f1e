"""How do clients reach a worker, and what does it say for itself?  Sockets, TLS, its own answers and errors."""
