# Reads the token counts of a usage object.  Called by native modules only; the contract is in usage.pxd.
