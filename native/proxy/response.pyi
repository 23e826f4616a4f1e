# What is the client told?  Types of the compiled module; the contract is in answering.pxd.

from native.proxy.request import Intake

class Answering(Intake): ...
