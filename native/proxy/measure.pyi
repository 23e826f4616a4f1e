# Tells what an attempt used.  Called by native modules only; the contract is in measure.pxd.
