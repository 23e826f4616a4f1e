# Compares the time to first token with the time that it takes when no requests wait at the target. Reached from Python
# through native.balance.capacity.Capacity.
