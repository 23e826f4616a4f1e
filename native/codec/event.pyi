# What does the data of one event hold?  Called by native.codec.sse only; see event.pxd.
