"""Routing: compiles the configuration into a Snapshot, and lists the models that it offers."""
