"""What stands in for the world: simulated providers, network faults, load, the demo. Tests import their fakes here."""
