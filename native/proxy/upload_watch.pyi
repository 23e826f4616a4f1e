# Watches the progress of an upload.  Called by native.proxy.attempt only; the contract is in upload_watch.pxd.
