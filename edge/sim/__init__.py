"""What stands in for the world?  Simulated providers, network faults, load, the demo. Tests import their fakes here."""
