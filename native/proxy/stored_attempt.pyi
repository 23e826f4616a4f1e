# Reads the answers to requests for what a provider keeps.  Types of the compiled module.

from native.proxy.attempt import Attempt

class StoredAttempt(Attempt): ...
