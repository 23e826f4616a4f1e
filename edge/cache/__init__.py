"""Answers from a cache: what makes two requests the same question, and where answers are kept."""
