# What does the data of one event hold?  Called by native.sse only; see event.pxd.
