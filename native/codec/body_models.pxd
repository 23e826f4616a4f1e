"""Replaces the names of models in the bodies of Gemini's embedContent, batchEmbedContents and countTokens (sans-I/O)."""

# The body with "models/NAME" in place of each name that it gives beside its path: the member ``model`` of the object, of
# each element of ``requests`` and of ``generateContentRequest``. ``body`` itself if it gives none. body: JSON that was
# walked before; name: UTF-8.
cdef bytes with_body_models(bytes body, bytes name)
