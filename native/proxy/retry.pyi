# Decides whether an exchange may be retried.  Called by native.proxy.exchange only; the contract is in retry.pxd.
