# Walks JSON without parsing it.  Called by native.codec.peek, native.codec.event and native.codec.sse only.
