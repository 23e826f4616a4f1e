"""The configuration: its schema, and the code that reads, checks and shows it. Nothing here acts on it."""
