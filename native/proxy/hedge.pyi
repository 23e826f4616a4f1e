# Decides when a second target is asked beside a slow attempt.  It has no Python interface; see hedge.pxd.
