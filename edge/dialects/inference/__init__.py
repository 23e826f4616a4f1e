"""How does edge's own gRPC language become a model's JSON, and the answer become ours?  See protos/edge/v1."""
