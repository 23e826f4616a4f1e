# Compares how long first tokens take with how long they take when nothing waits. Reached from Python through
# native.balance.capacity.Capacity.
