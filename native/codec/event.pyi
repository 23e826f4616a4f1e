# Collects the facts in the data of one event.  Called by native modules only; the contract is in event.pxd.
