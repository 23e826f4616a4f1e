"""What do edges tell each other, and what does each make of it?  Digests, the view of all regions, verdicts, shares."""
