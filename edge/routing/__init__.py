"""Where could a request go?  The configuration compiled into a Snapshot, and the list of models it offers."""
