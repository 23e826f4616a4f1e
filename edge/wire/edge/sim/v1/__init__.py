"""Messages and stubs of gRPC, generated from protos/ by `make wire`; do not edit."""
