# Settles an attempt.  Called by native.proxy.attempt only; the contract is in accounting.pxd.
