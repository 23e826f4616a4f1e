"""The order in which everything happens to a request: router, exchange, attempts, response, records."""
