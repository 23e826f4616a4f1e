from hmac import compare_digest
from urllib.parse import unquote_to_bytes

from cpython.bytes cimport PyBytes_GET_SIZE

from native.codec.content_coding cimport CODINGS, new_decoder
from native.codec.grpc cimport is_grpc
from native.codec.head cimport NO_BODY
from native.codec.field_rules cimport field_value
from native.http.stream cimport ClientCertificate, Share
from native.io.atomics cimport add64
from native.proxy.issuer cimport owner_of_session
from native.proxy.kept_paths cimport is_upload, session_of
from native.proxy.local_request cimport LocalCall, LocalQuery
from native.proxy.model_request cimport ModelRequest, PeerRequest
from native.proxy.request cimport LOCAL, MOST_HOPS, PLAIN, SMALL_BODY, refusal, refuse_bound
from native.proxy.service_request cimport ServiceRequest
from native.proxy.socket_request cimport SocketRequest, asks_for_socket
from native.proxy.stored_request cimport StoredRequest
from native.http.listen_policy cimport ListenPolicy
from native.proxy.router cimport (
    NAMED_IN_PATH, OPERATION_CHAT, OPERATION_FILES, OPERATION_HEALTH, OPERATION_MODELS, OPERATION_PREFLIGHT, OPERATION_RESPONSES,
    OPERATION_SERVICE, OPERATION_UNKNOWN, STORED, Route,
)
from native.proxy.web_pages cimport PageVerdict, judge_page
from native.state.callers cimport PRIORITIES, SHOWN_NONE, SHOWN_TOKEN, SHOWN_UNKNOWN, Caller, Callers
from native.state.shared_state cimport W_HOPS_REFUSED
from native.state.tokens cimport Tokens

cdef bytes GRPC_HEALTH = b"/grpc.health.v1.Health/"


cdef Refusal judge_peer(Runtime runtime, Head head, ClientCertificate certificate, Identity who):
    """Decide whether the request comes from another region's edge, and read the fields that only such a peer may set.

    A client's word about its name, its priority or its hops is not believed. Only one field of a client has an effect:
    a request with x-edge-hops is not sent to another region. A peer that shows a certificate and no token must send
    x-edge-hops, as edges always do; without that field it is treated as a client.
    """
    cdef bytes token = field_value(head.fields, b"x-edge-peer-token")
    cdef bytes hops = field_value(head.fields, b"x-edge-hops")
    cdef list names
    who.hops = hops
    if (token is None or runtime.peer_token is None or not compare_digest(token, runtime.peer_token)) and (
        certificate is None or hops is None or not runtime.is_peer(certificate)
    ):
        return None
    who.peer = True
    who.name = field_value(head.fields, b"x-edge-key-name")
    who.priority_name = field_value(head.fields, b"x-edge-priority")
    if hops is not None:
        names = hops.split(b",")
        if len(names) > MOST_HOPS or runtime.region in names:
            add64(&runtime.meter.count[<int>W_HOPS_REFUSED], 1)
            return refusal("peer_loop", hops.decode("latin-1"))
    return None


cdef int name_caller(Identity who) except -1:
    who.key = who.caller.slot
    who.priority = who.caller.priority
    who.name = who.caller.told_name
    who.priority_name = who.caller.told_priority


cdef Caller caller_of_query(Callers callers, bytes query, int* shown):
    """Find the caller by ``?key=``, as clients of Gemini may send it. The query is not forwarded."""
    for pair in query.split(b"&"):
        if pair.startswith(b"key=") and len(pair) > 4:
            shown[0] = SHOWN_UNKNOWN
            return callers.find_key(unquote_to_bytes(pair[4:]))
    return None


cdef Refusal identify(
    Runtime runtime, ServerStream stream, Head head, int operation, uint64_t now_ns, Identity who
):
    """Find the caller by its key, its certificate or its token, in this order.

    A token is not looked at beside a certificate: it may be meant for the service behind.
    """
    cdef Tokens tokens = runtime.tokens
    cdef Caller certified = None
    cdef Callers callers = runtime.router.callers
    cdef bint unlisted = False
    cdef int shown = 0
    if who.peer and who.priority_name in PRIORITIES:
        who.priority = PRIORITIES.index(who.priority_name)
    if callers is None or who.peer:
        return None     # the peer has admitted the caller, and charges it
    if callers.certified and stream.certificate is not None:
        certified = callers.caller_of_certificate(stream.certificate.subject_alt_names)
        if certified is not None:
            tokens = None
    if head.memo is None:
        who.caller = callers.find(head.fields, &shown, &who.credential_field, tokens, now_ns)
    else:
        who.caller = callers.find_again(head.memo, head.fields, &shown, &who.credential_field, tokens, now_ns)
    if who.caller is None and certified is not None:
        who.caller = certified
    elif shown == <int>SHOWN_TOKEN:
        who.caller = callers.verify(
            head.fields, &who.credential_field, tokens, now_ns, stream.peer(), &unlisted
        )
    elif shown == <int>SHOWN_NONE and PyBytes_GET_SIZE(head.target) > PyBytes_GET_SIZE(head.path) and (
        <int>NAMED_IN_PATH >> operation & 1 or operation == OPERATION_MODELS or operation == OPERATION_FILES
    ):
        who.caller = caller_of_query(callers, head.target[PyBytes_GET_SIZE(head.path) + 1:], &shown)
    if who.caller is not None:
        name_caller(who)
        return None
    if shown == <int>SHOWN_NONE and operation == OPERATION_FILES and is_upload(head.path):
        # Google's clients send the bytes of a file without a key: the id of the upload, which is secret, stands for it
        who.session = owner_of_session(runtime.issued, session_of(head.target[PyBytes_GET_SIZE(head.path) + 1:]))
        if who.session:
            return None
    if stream.policy.allow_anonymous:
        return None
    if shown == <int>SHOWN_TOKEN and not unlisted:
        return refusal(tokens.why.kind, tokens.why.detail, tokens.why.fields)
    if shown == <int>SHOWN_UNKNOWN and callers.table is not None and not callers.table.complete:
        return refusal("keys_missing", "1")
    return refusal(
        "unknown_identity" if unlisted else "missing_key" if shown == <int>SHOWN_NONE else "unknown_key"
    )


cdef Refusal redirect(ListenPolicy policy, Head head):
    """Send a client to the same place over TLS (RFC 9110 15.4.9). Without a host there is no such place."""
    cdef bytes place = policy.redirect
    if place == b"https":
        if not head.host:
            return refusal("host_missing")
        place = b"https://" + head.host
    place += head.target if head.target != b"*" else b"/"
    return refusal("redirect", place.decode("latin-1"), [(b"location", place)])


cdef bint is_typed_twice(list fields) noexcept:
    cdef int count = 0
    for pair in fields:
        if <bytes>(<tuple>pair)[0] == b"content-type":
            count += 1
    return count > 1


cdef Refusal check_model_head(Runtime runtime, ServerStream stream, Head head):
    """Check the method, the type and the announced length of a model's request before its body is read."""
    if head.method != b"POST":
        return refusal("method", head.method.decode("latin-1"), [(b"allow", b"POST")])
    if head.length == NO_BODY:
        return refusal("body_missing")
    if is_typed_twice(head.fields):
        return refusal("types_twice")       # the provider could read the body by another one than edge
    if head.content_encoding is not None and head.content_encoding != b"identity" and (
        new_decoder(head.content_encoding) is None
    ):
        return refusal("body_coding", CODINGS.decode(), [(b"accept-encoding", CODINGS)])
    if head.length > runtime.limits.body:
        return refusal("body_too_large", str(runtime.limits.body))
    if head.length > runtime.acceptor.room(stream.share):
        return refusal("buffers_full")
    stream.body_buffered = True
    return None


cdef Refusal begin_for_caller(Request request, Caller caller):
    """Take a slot and a request of the caller before the body comes. A refusal names and counts the route, so a small body
    is read all the same."""
    request.bound = caller.begin(request.runtime.worker, request.started_ns, &request.bound_wait_ns)
    request.begun = request.bound == 0
    return refuse_bound(request) if request.bound and request.head.length > SMALL_BODY else None


cdef Request admit(Runtime runtime, ServerStream stream, Head head, uint64_t started_ns):
    cdef Identity who = Identity.__new__(Identity)
    cdef Request request
    cdef ServiceRequest service
    cdef Route route = None
    cdef Refusal refused = None
    cdef bint grpc = head.version == 20 and is_grpc(head.content_type)
    cdef int operation = runtime.router.operation(head.path)
    cdef int response_format = PLAIN
    cdef ListenPolicy policy = stream.policy
    cdef bint keyless = policy.allow_anonymous or runtime.router.callers is None
    cdef bint is_health
    cdef bint opens_socket
    cdef PageVerdict page = None
    cdef bint ambient = keyless
    who.key = -1
    who.priority = 1
    who.credential_field = -1
    if runtime.regional:
        refused = judge_peer(runtime, head, stream.certificate, who)
    if grpc and runtime.calls is not None and operation == OPERATION_UNKNOWN:
        response_format = runtime.calls.response_format(head.path)
        if response_format != PLAIN and response_format != LOCAL:
            operation = OPERATION_CHAT
    if response_format == PLAIN and runtime.router.hosts and not who.peer and (
        operation == OPERATION_UNKNOWN or head.host in runtime.router.hosts
    ):
        route = runtime.router.service(head.host, head.path)
        if route is not None:
            operation = OPERATION_SERVICE
    if operation == OPERATION_UNKNOWN and response_format == PLAIN:
        operation = runtime.router.short_operation(head.path)

    opens_socket = head.upgrade is not None and operation == OPERATION_RESPONSES and not who.peer and asks_for_socket(head)
    is_health = operation == OPERATION_HEALTH or (response_format == LOCAL and head.path.startswith(GRPC_HEALTH))
    if policy.redirect is not None and not is_health:
        refused = redirect(policy, head)
    if opens_socket and stream.certificate is not None and field_value(head.fields, b"origin") is not None:
        # A browser shows it for pages of elsewhere too, and asks no leave (CORS) for a WebSocket, whose answers they read.
        ambient = True
    if refused is None and (ambient or policy.has_origins) and not who.peer and not is_health:
        page = judge_page(policy, head, ambient, runtime.router.hosts)
        refused = page.refused
        if page.is_preflight:
            operation = OPERATION_PREFLIGHT
            response_format = PLAIN

    if response_format == LOCAL:
        request = LocalCall.__new__(LocalCall)
        (<LocalCall>request).unread = b""
    elif operation == OPERATION_SERVICE:
        request = ServiceRequest.__new__(ServiceRequest)
    elif <int>STORED >> operation & 1:
        request = StoredRequest.__new__(StoredRequest)
    elif operation == OPERATION_UNKNOWN or operation == OPERATION_MODELS or operation == OPERATION_HEALTH or (
        operation == OPERATION_PREFLIGHT
    ):
        request = LocalQuery.__new__(LocalQuery)
    elif opens_socket:
        request = SocketRequest.__new__(SocketRequest)
    elif who.peer:
        request = PeerRequest.__new__(PeerRequest)
    else:
        request = ModelRequest.__new__(ModelRequest)
    request.runtime = runtime
    request.stream = stream
    request.head = head
    request.identity = who
    request.route = route
    request.operation = operation
    request.response_format = response_format
    request.grpc = grpc
    request.started_ns = started_ns

    if page is not None:
        request.page_fields = page.fields
    if refused is None and not is_health and operation != OPERATION_PREFLIGHT:
        refused = identify(runtime, stream, head, operation, started_ns, who)
    if refused is None:
        if who.caller is not None:
            if who.caller.share is None:
                who.caller.share = runtime.acceptor.share_of_key(who.caller.name)
            stream.share = <Share>who.caller.share
        elif who.peer:
            stream.share = None     # another region's edge asks for many callers, and has bounded each
        request.share = stream.share
        stream.is_call = grpc and (operation == OPERATION_SERVICE or response_format == LOCAL)
        if operation == OPERATION_SERVICE or <int>STORED >> operation & 1:
            service = <ServiceRequest>request
            refused = service.prepare()
        elif operation == OPERATION_PREFLIGHT:
            pass
        elif opens_socket:
            refused = (<SocketRequest>request).prepare()
        elif response_format == LOCAL:
            request.body = []
        elif operation == OPERATION_UNKNOWN:
            refused = refusal("unknown_path", head.path.decode("latin-1"))
        elif operation == OPERATION_MODELS or operation == OPERATION_HEALTH:
            if head.method != b"GET" and head.method != b"HEAD":
                refused = refusal("method", head.method.decode("latin-1"), [(b"allow", b"GET, HEAD")])
        else:
            request.body = []
            refused = check_model_head(runtime, stream, head)
            if refused is None and who.caller is not None:
                refused = begin_for_caller(request, who.caller)
            if refused is None and head.expects:
                stream.send_interim(100)
    request.refused = refused
    return request
