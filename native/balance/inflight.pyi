# Counts the requests that a target has in flight. Reached from Python through native.balance.target.Target.
