# Tells when a turn may have been carried out.  Called by native.proxy.retry only; see ambiguous_turn.pxd.
