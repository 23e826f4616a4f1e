"""What edges tell each other: digests, the view of all regions, verdicts on targets, and shares of global limits."""
