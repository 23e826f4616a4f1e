"""The admin API over HTTP and gRPC: health, metrics, status, and changes to the running node."""
