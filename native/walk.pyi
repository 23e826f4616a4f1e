"""How is JSON walked without being parsed?  Called by native.peek and native.event only; the contract is in walk.pxd."""
