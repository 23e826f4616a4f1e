"""The client-facing side of a worker: listening sockets, TLS, local replies and their errors."""
