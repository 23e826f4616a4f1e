# Finds the target that has a prompt in its cache.  Types of the compiled module; the contract is in affinity.pxd.

class Blocks: ...

class Affinity:
    @property
    def kept(self) -> int: ...
