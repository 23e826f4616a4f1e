"""Which target takes an attempt, and whether it may be tried: breaker, capacity, balancer, queue."""
