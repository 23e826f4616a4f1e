# Keeps the memory of freed objects of exchanges for the next ones.  Types of the compiled module.

def keep_freed_objects() -> None:
    # Begin to; called once, by the data plane's module.
    ...
