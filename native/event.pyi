"""What does the data of one event hold?  Called by native.sse only; the contract is in event.pxd."""
