# Says whether an exchange may try again.  Called by native.proxy.exchange only; the contract is in retry.pxd.
