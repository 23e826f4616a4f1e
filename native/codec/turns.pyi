# Fingerprints the turns of a conversation.  Types of the compiled module; the contract is in turns.pxd.
