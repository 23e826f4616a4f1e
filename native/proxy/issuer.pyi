# Finds out who issued the ids that a request names.  Types of the compiled module.

ISSUED_ELSEWHERE: str
