# Walks JSON without building objects.  Called by native modules only; the contract is in json_walk.pxd.
