# How is a target asked, and how long is it waited for?  Types of the compiled module; the contract is in asking.pxd.

from native.proxy.accounting import AttemptCore

class Asking(AttemptCore): ...
