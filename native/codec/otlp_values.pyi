# Writes the parts of OTLP spans.  Called by native modules only; the contract is in otlp_values.pxd.
