"""Credentials that edge fetches itself, as what it calls providers as: cloud identities and OAuth 2.0 clients."""
