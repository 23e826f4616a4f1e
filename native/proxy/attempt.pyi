# What does a target answer, and whose fault is it if that is no answer?  Types of the compiled module; the contract is
# in attempt.pxd.

from native.proxy.asking import Asking

class Attempt(Asking): ...
