# Builds the fields that tell an upstream from whom a request comes.  The contract is in forwarded.pxd.
