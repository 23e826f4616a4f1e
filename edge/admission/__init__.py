"""Keys of callers and reports on their usage; native/state/callers decides per request."""
