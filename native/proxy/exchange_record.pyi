# Writes the record of an exchange.  Called by native.proxy.exchange only; the contract is in exchange_record.pxd.
