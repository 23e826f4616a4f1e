"""What bytes say: JSON, event streams, gRPC, message heads and spans, without I/O."""
