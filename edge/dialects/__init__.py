"""Translators between edge's APIs and the JSON of providers, one package per dialect; pure functions without I/O."""
