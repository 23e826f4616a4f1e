"""May this caller pass?  What a key is, and what each has used; deciding it per request is native/state/callers."""
