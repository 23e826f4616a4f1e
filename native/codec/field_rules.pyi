# Checks targets and hosts.  Types of the compiled module; the contract is in field_rules.pxd.
