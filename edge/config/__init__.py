"""What does the operator want?  Read, checked whole, and shown; nothing here knows how it is done."""
