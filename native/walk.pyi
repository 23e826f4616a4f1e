# How is JSON walked without being parsed?  Called by native.peek, native.event and native.sse only; see walk.pxd.
