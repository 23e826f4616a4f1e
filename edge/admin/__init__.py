"""What may an operator see and ask?  One listener apart from the clients': health, metrics, targets, the snapshot."""
