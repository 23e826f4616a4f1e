"""Readers of providers' status pages: each turns the document of one kind of page into a PageView. They do no I/O."""
