# Keeps the last head of a connection.  Types of the compiled module; the contract is in kept_head.pxd.

class KeptHead:
    # The last head of one connection.

    ...
