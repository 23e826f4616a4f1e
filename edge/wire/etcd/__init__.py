"""What is said over gRPC?  Generated from protos/ by `make wire`; nothing here is written by hand."""
