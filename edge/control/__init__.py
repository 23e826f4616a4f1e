"""What is true now, and who must know?  Control publishes the Snapshot, probes what is ill, and says what changed."""
