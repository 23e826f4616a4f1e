"""Parsers and writers of JSON, event streams, gRPC, message heads and spans, without I/O."""
