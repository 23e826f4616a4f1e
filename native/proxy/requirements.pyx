from libc.stdint cimport uint64_t
from libc.string cimport memcmp
from native.balance.balancer cimport Target
from native.codec.field_list cimport FieldView, field_at
from native.proxy.request cimport Refusal, Request, refusal

# Longest field; most targets that an error names; most characters of what is said of one.
cdef Py_ssize_t LONGEST = 512
cdef Py_ssize_t MOST_TOLD = 16
cdef Py_ssize_t NOTE_LIMIT = 120


cdef Refusal require(Request request):
    cdef list fields = request.head.fields
    cdef FieldView field
    cdef Refusal why
    cdef Py_ssize_t at
    for at in range(len(fields)):
        if field_at(fields, at, &field) and field.name_size == 14 and memcmp(field.name, b"x-edge-require", 14) == 0:
            why = apply(request, <bytes>(<tuple>fields[at])[1])
            if why is not None:
                return why
    request.closed |= request.unmet
    return None


cdef Refusal require_one(Request request):
    cdef int size = request.route.pool.size
    request.closed |= request.unmet
    if request.unmet == 0 or ~request.closed & ((<uint64_t>2 << size - 1) - 1):
        return None
    return refusal("requirement_unmet", "; ".join(request.unmet_why[:MOST_TOLD]))


cdef Refusal apply(Request request, bytes value):
    """Exclude who does not meet one field: ``jurisdiction=eu,us; capabilities=images``."""
    cdef str name, values, part
    cdef list wanted
    if len(value) > LONGEST:
        return refusal("bad_requirement", f"it is longer than {LONGEST} bytes")
    for part in value.decode("latin-1").split(";"):
        name, _, values = part.partition("=")
        name = name.strip().lower()
        wanted = [each.strip().lower() for each in values.split(",")]
        if name not in ("jurisdiction", "capabilities") or "" in wanted:
            return refusal("bad_requirement", f"{part.strip()[:80]!r} is not understood")
        exclude(request, name, wanted)
    return None


cdef exclude(Request request, str name, list wanted):
    """Exclude the members that do not meet one requirement; each is told about once, however many fields there are."""
    cdef Target target
    cdef str law, why
    cdef list lacking
    cdef int i
    for i in range(request.route.pool.size):
        if request.unmet >> i & 1:
            continue
        target = request.route.pool.target_at(i)
        if request.route.regions >> i & 1:
            why = "the targets of another region are not known here"
        elif name == "jurisdiction":
            law = target.plan.jurisdiction
            if law is not None and law.lower() in wanted:
                continue
            why = f"its jurisdiction is {law or 'not known'}"
        else:
            lacking = [each for each in wanted if each not in target.plan.capabilities]
            if not lacking:
                continue
            why = f"its capabilities do not name {', '.join(lacking)}"
        request.unmet |= <uint64_t>1 << i
        if request.unmet_why is None:
            request.unmet_why = []
        request.unmet_why.append(f"{target.id}: {why[:NOTE_LIMIT]}")
