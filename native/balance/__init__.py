"""Selection of the target of an attempt: circuit breaker, learned capacity, balancer and queue."""
