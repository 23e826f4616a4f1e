"""Simulators of the outside world: providers, gRPC services, network faults, load and the demos; tests import them."""
