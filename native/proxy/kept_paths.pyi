# Reads the paths of what providers keep.  Types of the compiled module, which has nothing for Python.
