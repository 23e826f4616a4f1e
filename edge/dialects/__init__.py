"""In which words is a model asked, and in which does it answer?  One folder per language; pure functions, no I/O."""
