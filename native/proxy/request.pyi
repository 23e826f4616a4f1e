# What does this request ask for, and for whom?  Types of the compiled module; the contract is in intake.pxd.

from native.proxy.accounting import ExchangeCore

class Intake(ExchangeCore): ...
