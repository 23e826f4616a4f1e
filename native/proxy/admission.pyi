# Admits a request by its head.  Called by native.proxy.exchange only; the contract is in admission.pxd.
