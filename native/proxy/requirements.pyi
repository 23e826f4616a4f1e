# Excludes the targets that do not meet what a caller requires.  Types of the compiled module, with nothing for Python.
