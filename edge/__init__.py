"""edge: a load-balancing edge that keeps applications answered when an AI provider goes down."""
