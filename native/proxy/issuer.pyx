from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.field_rules cimport field_value
from native.io.clock cimport wall_ns
from native.proxy.request cimport refusal
from native.proxy.router cimport Router
from native.state.issued_ids cimport IssuedIds, word_of

# No provider's id has half as many bytes (Google's of uploads have 180); a longer one is not remembered.
cdef Py_ssize_t LONGEST = 512


# What a record says of a target that is not asked because of an id in the request.
ISSUED_ELSEWHERE = "another provider has issued the id that the request names"


cdef uint64_t now_s() noexcept:
    return wall_ns() // 1_000_000_000


cdef uint64_t owner_of(Request request):
    return request.identity.session if request.identity.name is None else word_of(request.identity.name)


cdef uint64_t owner_of_session(IssuedIds table, bytes name):
    cdef Issued record
    if table is None or name is None or PyBytes_GET_SIZE(name) > LONGEST or not table.find(name, now_s(), &record):
        return 0
    return record.owner


cdef int exclude_all(Request request) except -1:
    """Note for the record that no target of the route belongs to the provider that issued an id."""
    cdef int i
    if request.unmet_why is None:
        request.unmet_why = []
    for i in range(request.route.pool.size):
        if not request.unmet >> i & 1:      # else it is told already what excludes it
            request.unmet_why.append(f"{request.route.pool.target_at(i).id}: {ISSUED_ELSEWHERE}")


cdef Refusal seek_issuer(Request request, list ids, int* found, Issued* issued):
    cdef IssuedIds table = request.runtime.issued
    cdef Issued record
    cdef uint64_t owner, members
    cdef bint doubted = False       # an id is unknown, or belongs to nobody: what is asked is as doubtful as that
    found[0] = FOUND_NONE
    if not ids:
        return None
    found[0] = FOUND_UNKNOWN
    if table is None:
        return None
    owner = owner_of(request)
    for item in ids:
        if PyBytes_GET_SIZE(<bytes>item) > LONGEST or not table.find(<bytes>item, now_s(), &record):
            doubted = True
            continue
        if record.owner and record.owner != owner:
            return refusal("unknown_id", (<bytes>item).decode("utf-8", "replace"))
        doubted = doubted or not record.owner
        if found[0] != FOUND_UNKNOWN:
            if record.place != issued.place:
                return refusal("issuers_differ", (<bytes>item).decode("utf-8", "replace"))
            continue
        members = request.runtime.router.members_at(request.route, record.place)
        if not members:
            exclude_all(request)
            return refusal("issuer_elsewhere", (<bytes>item).decode("utf-8", "replace"))
        found[0] = FOUND_OWN
        issued[0] = record
        request.closed = ~members
        request.sought = <bytes>item
    if found[0] == FOUND_OWN and doubted:
        found[0] = FOUND_COMMON
    return None


cdef int search_everywhere(Request request, bytes name) except -1:
    request.sought = name
    request.searching = True
    request.seed = word_of(name)
    request.closed |= request.route.regions


cdef uint64_t place_of(Request request, int index, list fields):
    """Return the word of who has made an answer; 0 = it is not known, or no target here."""
    cdef Router router = request.runtime.router
    cdef bytes target
    cdef uint64_t place
    if fields is None:
        return request.route.places[index]
    target = field_value(fields, b"x-edge-target")
    if target is None or router.stored is None:
        return 0
    place = word_of(target.partition(b"/")[0])
    return place if router.members_at(router.stored, place) else 0


cdef int remember(Request request, int index, list fields, list ids, uint64_t owner, bint objects) except -1:
    cdef IssuedIds table = request.runtime.issued
    cdef uint64_t place = place_of(request, index, fields)
    cdef Issued record
    if table is None or not place:
        return 0
    for item in ids:
        if 0 < PyBytes_GET_SIZE(<bytes>item) <= LONGEST and (
            owner or not table.find(<bytes>item, now_s(), &record) or not record.owner      # else it is somebody's already
        ):
            table.put(<bytes>item, place, owner, objects, now_s())
