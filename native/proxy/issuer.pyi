# Finds out who issued the ids that a request names.  Types of the compiled module, which has nothing for Python.
