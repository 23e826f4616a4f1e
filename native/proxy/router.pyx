"""Finds the route of a request.

The order of precedence is ``service(host, path)``, then ``operation(path)``. A service that names the request's host wins
over everything. A service for any host wins only if the path is not one of edge's own, so that a catch-all service cannot
take ``/v1/chat/completions`` or ``/healthz``. Among the prefixes of a host the longest wins. A prefix ends at a segment:
``/api`` matches ``/api`` and ``/api/x``, but not ``/apix``; ``/api/`` matches only paths below it.

A path is matched decoded, and forwarded as written. Servers disagree about encoded separators, parameters, dot segments
and empty segments, so :meth:`Router.may_mislead` asks whether any of them would lead to another service than the one
that was matched and permitted.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp
from native.codec.path_readings cimport LONGEST_READ, decode_path, is_plain, other_readings
from native.state.allowance cimport Allowance
from native.balance.balancer cimport Target
from native.balance.preference cimport PREFER_COST, PREFER_LATENCY, PREFER_ORDER
from native.balance.queue cimport Queue
from native.state.callers cimport Callers, KeyTable
from native.state.issued_ids cimport word_of

OPERATION_NAMES = {
    <int>Operation.OPERATION_CHAT: "chat", <int>Operation.OPERATION_COMPLETIONS: "completions",
    <int>Operation.OPERATION_EMBEDDINGS: "embeddings", <int>Operation.OPERATION_RESPONSES: "responses",
    <int>Operation.OPERATION_MESSAGES: "chat", <int>Operation.OPERATION_COUNT_TOKENS: "chat",
    <int>Operation.OPERATION_GENERATE: "chat", <int>Operation.OPERATION_STREAM: "chat",
    <int>Operation.OPERATION_MODERATION: "moderation", <int>Operation.OPERATION_RERANK: "rerank",
    <int>Operation.OPERATION_IMAGE: "image", <int>Operation.OPERATION_SPEECH: "speech",
    <int>Operation.OPERATION_TRANSCRIPTION: "transcription", <int>Operation.OPERATION_TRANSLATION: "translation",
    <int>Operation.OPERATION_IMAGE_EDIT: "image_edit", <int>Operation.OPERATION_IMAGE_VARIATION: "image_variation",
    <int>Operation.OPERATION_COMPACT: "responses", <int>Operation.OPERATION_INPUT_TOKENS: "responses",
    <int>Operation.OPERATION_RESPONSE: "response", <int>Operation.OPERATION_CONVERSATIONS: "conversations",
    <int>Operation.OPERATION_FILES: "files", <int>Operation.OPERATION_BATCHES: "batches",
    <int>Operation.OPERATION_FINE_TUNING: "fine_tuning", <int>Operation.OPERATION_VECTOR_STORES: "vector_stores",
    <int>Operation.OPERATION_EMBED: "embeddings", <int>Operation.OPERATION_CONTENT_TOKENS: "chat",
}
# What a target declares if it answers an operation that few targets have.
CAPABILITY_OF = {
    <int>Operation.OPERATION_MODERATION: "moderation", <int>Operation.OPERATION_RERANK: "rerank",
    <int>Operation.OPERATION_IMAGE: "image", <int>Operation.OPERATION_SPEECH: "speech",
    <int>Operation.OPERATION_TRANSCRIPTION: "transcription", <int>Operation.OPERATION_TRANSLATION: "translation",
    <int>Operation.OPERATION_IMAGE_EDIT: "image", <int>Operation.OPERATION_IMAGE_VARIATION: "image",
    <int>Operation.OPERATION_RESPONSE: "responses", <int>Operation.OPERATION_CONVERSATIONS: "conversations",
    <int>Operation.OPERATION_FILES: "files", <int>Operation.OPERATION_BATCHES: "batches",
    <int>Operation.OPERATION_FINE_TUNING: "fine_tuning", <int>Operation.OPERATION_VECTOR_STORES: "vector_stores",
}
DIALECT_OF = {
    <int>Operation.OPERATION_CHAT: "openai", <int>Operation.OPERATION_RESPONSES: "responses",
    <int>Operation.OPERATION_MESSAGES: "anthropic", <int>Operation.OPERATION_COUNT_TOKENS: "anthropic",
    <int>Operation.OPERATION_GENERATE: "gemini", <int>Operation.OPERATION_STREAM: "gemini",
    <int>Operation.OPERATION_EMBED: "gemini", <int>Operation.OPERATION_CONTENT_TOKENS: "gemini",
}
SUFFIXES = {
    <int>Operation.OPERATION_CHAT: b"/chat/completions", <int>Operation.OPERATION_COMPLETIONS: b"/completions",
    <int>Operation.OPERATION_EMBEDDINGS: b"/embeddings", <int>Operation.OPERATION_RESPONSES: b"/responses",
    <int>Operation.OPERATION_MESSAGES: b"/messages", <int>Operation.OPERATION_COUNT_TOKENS: b"/messages/count_tokens",
    <int>Operation.OPERATION_GENERATE: b":generateContent",
    <int>Operation.OPERATION_STREAM: b":streamGenerateContent?alt=sse",
    <int>Operation.OPERATION_EMBED: b":embedContent", <int>Operation.OPERATION_CONTENT_TOKENS: b":countTokens",
    <int>Operation.OPERATION_MODERATION: b"/moderations", <int>Operation.OPERATION_RERANK: b"/rerank",
    <int>Operation.OPERATION_IMAGE: b"/images/generations", <int>Operation.OPERATION_SPEECH: b"/audio/speech",
    <int>Operation.OPERATION_TRANSCRIPTION: b"/audio/transcriptions",
    <int>Operation.OPERATION_TRANSLATION: b"/audio/translations",
    <int>Operation.OPERATION_IMAGE_EDIT: b"/images/edits",
    <int>Operation.OPERATION_IMAGE_VARIATION: b"/images/variations",
    <int>Operation.OPERATION_COMPACT: b"/responses/compact",
    <int>Operation.OPERATION_INPUT_TOKENS: b"/responses/input_tokens",
}
cdef dict OWN_PATHS = {
    b"/v1/chat/completions": Operation.OPERATION_CHAT,
    b"/chat/completions": Operation.OPERATION_CHAT,
    b"/v1/completions": Operation.OPERATION_COMPLETIONS,
    b"/v1/embeddings": Operation.OPERATION_EMBEDDINGS,
    b"/v1/responses": Operation.OPERATION_RESPONSES,
    b"/v1/messages": Operation.OPERATION_MESSAGES,
    b"/v1/messages/count_tokens": Operation.OPERATION_COUNT_TOKENS,
    b"/v1/moderations": Operation.OPERATION_MODERATION,
    b"/v1/rerank": Operation.OPERATION_RERANK,
    b"/v2/rerank": Operation.OPERATION_RERANK,
    b"/v1/images/generations": Operation.OPERATION_IMAGE,
    b"/v1/audio/speech": Operation.OPERATION_SPEECH,
    b"/v1/audio/transcriptions": Operation.OPERATION_TRANSCRIPTION,
    b"/v1/audio/translations": Operation.OPERATION_TRANSLATION,
    b"/v1/images/edits": Operation.OPERATION_IMAGE_EDIT,
    b"/v1/images/variations": Operation.OPERATION_IMAGE_VARIATION,
    b"/v1/responses/compact": Operation.OPERATION_COMPACT,
    b"/v1/responses/input_tokens": Operation.OPERATION_INPUT_TOKENS,
    b"/v1/models": Operation.OPERATION_MODELS,
    b"/healthz": Operation.OPERATION_HEALTH,
}
# What is kept, by the segment behind /v1/, and whether that path itself is one of them.
cdef dict KEPT_PATHS = {
    b"responses": (Operation.OPERATION_RESPONSE, False),
    b"conversations": (Operation.OPERATION_CONVERSATIONS, True),
    b"files": (Operation.OPERATION_FILES, True),
    b"uploads": (Operation.OPERATION_FILES, True),
    b"batches": (Operation.OPERATION_BATCHES, True),
    b"fine_tuning": (Operation.OPERATION_FINE_TUNING, False),
    b"vector_stores": (Operation.OPERATION_VECTOR_STORES, True),
    b"cachedContents": (Operation.OPERATION_FILES, True),
}
# Clients with a base URL that lacks /v1 ask these, and Azure's /openai.
cdef frozenset SHORT_PATHS = frozenset((
    *KEPT_PATHS, b"chat", b"completions", b"embeddings", b"messages", b"moderations", b"rerank", b"images", b"audio",
    b"models", b"openai",
))
cdef bytes DEPLOYMENTS = b"/openai/deployments/"
# Requests of these may leave out the model: OpenAI's have a default.
cdef tuple NAMELESS = (
    <int>Operation.OPERATION_MODERATION, <int>Operation.OPERATION_IMAGE, <int>Operation.OPERATION_IMAGE_EDIT,
    <int>Operation.OPERATION_IMAGE_VARIATION,
)
# Edge's own only where the Snapshot says so; elsewhere a service may have them.
cdef frozenset STATUS_PATHS = frozenset((b"/edge/status", b"/edge/status.html"))
# Beside those of OpenAI: Anthropic's batches, Gemini's files, their uploads, prompts that it keeps, and its batches.
cdef dict KEPT_ELSEWHERE = {
    b"/v1/messages/batches": Operation.OPERATION_BATCHES,
    b"/v1beta/files": Operation.OPERATION_FILES,
    b"/v1beta/cachedContents": Operation.OPERATION_FILES,
    b"/v1beta/batches": Operation.OPERATION_BATCHES,
    b"/upload/v1beta/files": Operation.OPERATION_FILES,
    b"/upload/v1/files": Operation.OPERATION_FILES,
}
# What providers of other dialects than OpenAI's keep, by operation.
cdef dict KEEPERS = {
    <int>Operation.OPERATION_FILES: ("anthropic", "gemini"), <int>Operation.OPERATION_BATCHES: ("anthropic", "gemini"),
}
# How a batch of Gemini's begins, behind the name of its model.
cdef bytes BATCH_EMBED = b":batchEmbedContents"
cdef tuple BATCHING = (b":batchGenerateContent", b":asyncBatchEmbedContent")
# Clients of Gemini ask under its beta version; Google's stable version has the same paths.
cdef tuple MODEL_PATHS = (b"/v1beta/models/", b"/v1/models/")
# What each dialect of a target is asked without a translation, as bits by operation.
cdef dict NATIVE = {
    "openai": (
        1 << <int>Operation.OPERATION_CHAT | 1 << <int>Operation.OPERATION_COMPLETIONS
        | 1 << <int>Operation.OPERATION_EMBEDDINGS | 1 << <int>Operation.OPERATION_MODERATION
        | 1 << <int>Operation.OPERATION_RERANK | 1 << <int>Operation.OPERATION_IMAGE
        | 1 << <int>Operation.OPERATION_SPEECH | <uint64_t>FORMS
    ),
    "responses": (
        <uint64_t>OF_RESPONSES | 1 << <int>Operation.OPERATION_COMPLETIONS | 1 << <int>Operation.OPERATION_EMBEDDINGS
    ),
    "anthropic": 1 << <int>Operation.OPERATION_MESSAGES | 1 << <int>Operation.OPERATION_COUNT_TOKENS,
    "gemini": (
        1 << <int>Operation.OPERATION_GENERATE | 1 << <int>Operation.OPERATION_STREAM
        | 1 << <int>Operation.OPERATION_EMBED | 1 << <int>Operation.OPERATION_CONTENT_TOKENS
    ),
}


# The one of OWN_PATHS that was asked for last.
cdef bytes last_path = b""
cdef int last_operation = Operation.OPERATION_UNKNOWN
# A longer name of a model is looked up each time.
cdef Py_ssize_t LONGEST_KEPT = 256


cdef int operation_of(bytes path) except -1:
    global last_path, last_operation
    cdef const char* p = PyBytes_AS_STRING(path)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    if size == PyBytes_GET_SIZE(last_path) and memcmp(p, PyBytes_AS_STRING(last_path), size) == 0:
        return last_operation
    operation = OWN_PATHS.get(path)
    if operation is not None:
        last_path = path
        last_operation = operation
        return operation
    if size > 3 and memcmp(p, b"/v1", 3) == 0:
        if path.endswith(b":generateContent") and model_of_path(path):
            return Operation.OPERATION_GENERATE
        if path.endswith(b":streamGenerateContent") and model_of_path(path):
            return Operation.OPERATION_STREAM
        if path.endswith((b":embedContent", BATCH_EMBED)) and model_of_path(path):
            return Operation.OPERATION_EMBED
        if path.endswith(b":countTokens") and model_of_path(path):
            return Operation.OPERATION_CONTENT_TOKENS
        if path.endswith(BATCHING) and model_of_path(path):
            return Operation.OPERATION_BATCHES
        if path.startswith(b"/v1/models/") and len(path) > 11:
            return Operation.OPERATION_MODELS
        # Gemini's methods stand behind a colon, which no name of a model has
        if path == b"/v1beta/models" or (path.startswith(b"/v1beta/models/") and b":" not in path and len(path) > 15):
            return Operation.OPERATION_MODELS
    if size and p[size - 1] == c"/" and path != b"/v1/models/" and path != b"/healthz/":
        return operation_of(path[:-1]) if size > 4 and p[size - 2] != c"/" else Operation.OPERATION_UNKNOWN
    if size > 12 and (memcmp(p, b"/v1/messages/", 13) == 0 or memcmp(p, b"/v1beta/", 8) == 0 or p[1] == c"u"):
        for prefix in KEPT_ELSEWHERE:
            if covers(<bytes>prefix, path):
                return KEPT_ELSEWHERE[prefix]
    if size > 4 and memcmp(p, b"/v1/", 4) == 0:
        return kept_operation(path)
    return Operation.OPERATION_UNKNOWN


cdef int kept_operation(bytes path) except -1:
    """Return the operation of a path of what providers keep."""
    cdef Py_ssize_t end = path.find(b"/", 4)
    cdef tuple found = <tuple>KEPT_PATHS.get(path[4:] if end < 0 else path[4:end])
    return found[0] if found is not None and (end > 0 or found[1]) else Operation.OPERATION_UNKNOWN


cdef bytes written_out(bytes path):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    if size > 1 and path.endswith(b"/"):
        path = path[:-1]
    if path.startswith(b"/openai/v1/"):
        return path[7:]
    if path.startswith(DEPLOYMENTS):
        return b"/v1" + path[path.find(b"/", len(DEPLOYMENTS)):]
    if path.startswith(b"/openai/"):
        return b"/v1" + path[7:]
    return path if path.startswith((b"/v1/", b"/v2/")) else b"/v1" + path


cdef bytes model_of_path(bytes path):
    for prefix in MODEL_PATHS:
        if path.startswith(prefix):
            return path[len(prefix):path.rfind(b":")]
    return b""


cdef bytes deployment_of_path(bytes path):
    if not path.startswith(DEPLOYMENTS):
        return b""
    return path[len(DEPLOYMENTS):path.find(b"/", len(DEPLOYMENTS))]


cdef uint64_t native_operations(object target) except? 0:
    """Return what a target is asked without a translation, as bits; a target without capabilities may have them all."""
    if target is None or target.kind != "model":
        return <uint64_t>-1
    if target.dialect == "openai" and (not target.capabilities or "responses" in target.capabilities):
        return NATIVE["openai"] | <uint64_t>OF_RESPONSES
    return NATIVE[target.dialect]


cdef str why_unfit(int operation, object target, str embeds):
    """Return why a target is never asked this operation, whatever the request says; None = it may be asked.

    ``embeds``: the upstream model whose vectors the route gives."""
    cdef str capability = <str>CAPABILITY_OF.get(operation)
    if target is None or target.kind != "model":
        return None
    if target.model != embeds and (
        operation == <int>Operation.OPERATION_EMBEDDINGS or operation == <int>Operation.OPERATION_EMBED
    ):
        return f"its model is {target.model or 'any'}, and vectors of two models cannot be compared"
    if capability is None:
        return None
    if target.dialect != "openai" and not (
        target.dialect == "responses" and <uint64_t>STORED >> operation & 1
    ) and target.dialect not in KEEPERS.get(operation, ()):
        return f"the dialect {target.dialect} has no {capability}"
    if target.capabilities and capability not in target.capabilities:
        return f"its capabilities do not name {capability}"
    return None


cdef str place_of(object target):
    """Return the name of who keeps what a target has made: its provider, and the address where it was discovered."""
    cdef str own = f"{target.provider}/{target.model or '*'}"
    return target.provider + target.id[len(own):]


cdef bint covers(bytes prefix, bytes path) except -1:
    cdef const char* p = PyBytes_AS_STRING(prefix)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(prefix)
    if PyBytes_GET_SIZE(path) < size or memcmp(PyBytes_AS_STRING(path), p, size) != 0:
        return False
    return size == PyBytes_GET_SIZE(path) or size == 0 or p[size - 1] == c"/" or (
        PyBytes_AS_STRING(path)[size] == c"/"
    )


cdef class Route:
    """A route as this worker sees it. ``plan`` is an ``edge.terms.snapshot.Route``; durations are ns."""

    def __init__(self, SharedState shared_state not None, plan, TargetPool pool not None):
        self.rec = shared_state.route(plan.slot)
        self.shared_state = shared_state
        self.name = plan.name
        self.slot = plan.slot
        self.is_service = plan.kind == "service"
        self.is_pattern = plan.kind == "model" and "*" in plan.name and "/" not in plan.name
        self.pool = pool
        self.queue = Queue(shared_state, plan.slot, plan.queue.limit, plan.queue.wait_ns)
        self.timeouts = {name: getattr(plan.timeouts, name) for name in plan.timeouts.__struct_fields__}
        self.attempts = plan.retry.attempts
        self.idempotent = plan.retry.idempotent
        self.budget = plan.retry.budget
        self.same_target = plan.retry.same_target
        self.wait_ns = plan.retry.wait_ns
        self.rescue = {"never": RESCUE_NEVER, "same_model": RESCUE_SAME_MODEL, "text": RESCUE_TEXT}[plan.rescue]
        if plan.hedge is not None and pool.size > 1:
            self.hedge_share = plan.hedge.budget
            self.hedge_percentile = plan.hedge.percentile
            self.hedge_after_ns = plan.hedge.after_ns
        if plan.cache is not None:
            self.cache_ttl_ns = plan.cache.ttl_ns
            self.cache_stale_ns = plan.cache.stale_if_error_ns
            self.cache_shared = plan.cache.shared
            self.cache_scope = "\n".join([plan.name, *[pool.target_at(index).id for index in range(pool.size)]]).encode()
        self.strict = plan.strict
        if pool.size > 1:
            self.affinity = {"none": AFFINITY_NONE, "auto": AFFINITY_AUTO, "prefix": AFFINITY_PREFIX}[plan.affinity]
            self.prefer = {"order": PREFER_ORDER, "cost": PREFER_COST, "latency": PREFER_LATENCY}[plan.prefer]
        self.regions = self.canaries = 0
        self.embeds = self._embeds()
        for operation in range(<int>OPERATIONS):
            self.foreign[<int>operation] = self.unfit[<int>operation] = 0
        for index in range(pool.size):
            self.absent_ns[index] = 0
            self.windows[index] = plan.members[index].window
            if plan.members[index].is_canary:
                self.canaries |= <uint64_t>1 << <int>index
            target = pool.target_at(index).plan
            self.mixed = self.mixed or pool.target_at(index).mixed
            native = native_operations(target)
            for operation in range(<int>OPERATIONS):
                if not native >> <int>operation & 1:
                    self.foreign[<int>operation] |= <uint64_t>1 << <int>index
                if why_unfit(<int>operation, target, self.embeds) is not None:
                    self.unfit[<int>operation] |= <uint64_t>1 << <int>index
            self.places[index] = 0 if target is None or target.kind != "model" else word_of(place_of(target).encode())
            if target is not None and target.kind == "region":
                self.regions |= <uint64_t>1 << <int>index
            self.rescuers[index] = self._find_rescuers(<int>index) if self.rescue else 0

    cdef follow(self, Route shadow, object plan):
        self.shadow = shadow
        self.shadow_below = <uint64_t>-1 if plan.share >= 1 else <uint64_t>(<double>plan.share * 18446744073709551616.0)
        self.shadow_most = plan.max_inflight
        self.shadow_methods = frozenset([method.encode() for method in plan.methods])

    cdef str _embeds(self):
        """Return the upstream model of the first target of the best tier: stored vectors are most likely of that one."""
        cdef int i, best = -1
        for i in range(self.pool.size):
            plan = self.pool.target_at(i).plan
            if plan is not None and plan.kind == "model" and (best < 0 or self.pool.tiers[i] < self.pool.tiers[best]):
                best = i
        return "" if best < 0 else self.pool.target_at(best).plan.model

    cdef list unfit_because(self, int operation):
        cdef list reasons = []
        cdef Target target
        cdef int i
        for i in range(self.pool.size):
            target = self.pool.target_at(i)
            why = why_unfit(operation, target.plan, self.embeds)
            if why is not None:
                reasons.append(f"{target.id}: {why}")
        return reasons

    cdef uint64_t _find_rescuers(self, int index) except? 0:
        """Return the members that may go on with an answer of this one, as bits. Another region rescues its own."""
        cdef uint64_t found = 0
        cdef object broken = self.pool.target_at(index).plan
        cdef object other
        cdef int i
        for i in range(self.pool.size):
            other = self.pool.target_at(i).plan
            if i == index or other is None or broken is None or other.kind != "model":
                continue
            if self.rescue == RESCUE_TEXT or (other.prefill and broken.kind == "model" and other.model == broken.model):
                found |= <uint64_t>1 << i
        return found

    def __repr__(self):
        return f"<Route {self.name} slot {self.slot}>"


cdef class Router:
    """Compile a Snapshot: one Target each, one Pool and one Route each, and the tables that lead to them.

    ``workers``: how many in-flight columns count. ``keys``: those of the cluster. Raises IndexError for a slot or an index
    that is not there.
    """

    def __init__(self, snapshot, SharedState shared_state not None, int workers, KeyTable keys=None):
        self.snapshot = snapshot
        self.public_status = snapshot.public_status
        self.targets = [
            Target(shared_state, plan.slot, plan.id, plan.max_inflight, plan) for plan in snapshot.targets
        ]
        allowances = [Allowance(shared_state, credential.allowance) for credential in snapshot.credentials]
        for target in self.targets:
            target.mixed = target.plan.kind == "model" and not target.plan.model
            if target.plan.credential >= 0:
                target.allowance = allowances[target.plan.credential]
        self.priorities = {key.priority for key in snapshot.keys} | (keys.priorities if keys is not None else frozenset())
        if snapshot.keys or snapshot.issuers or (keys is not None and (keys.in_use or snapshot.demands_keys)):
            self.callers = Callers(shared_state, snapshot.keys, workers, keys)
        self.metered = (keys is not None and keys.metered) or any([key.budget_nano for key in snapshot.keys]) or any([
            owner.allowance is not None and owner.allowance.tokens_per_minute
            for owner in (*snapshot.keys, *snapshot.credentials)
        ])
        self.routes = [Route(shared_state, plan, self._build_pool(plan, workers)) for plan in snapshot.routes]
        for route, plan in zip(self.routes, snapshot.routes, strict=True):
            if plan.copies is not None and plan.copies.share > 0:
                (<Route>route).follow(self.routes[plan.copies.route], plan.copies)
        self.affine = any([(<Route>route).affinity for route in self.routes])
        self.stored = self.routes[snapshot.stored] if snapshot.stored >= 0 else None
        self.models = {}
        self.only = self._find_only()
        self.patterns = []
        for name, index in snapshot.models.items():
            if (<Route>self.routes[index]).is_pattern:
                before, _, after = name.encode().partition(b"*")
                self.patterns.append((before, after, self.routes[index]))
            else:
                self.models[name.encode()] = self.routes[index]
        self.patterns.sort(key=_most_exact_first)
        self.providers = {name.encode(): self.routes[index] for name, index in snapshot.providers.items()}
        self.hosts = {}
        for match in snapshot.services:
            # gRPC's path is "/" service "/" method (gRPC over HTTP/2, Requests)
            prefix = match.path
            if match.grpc:
                prefix = f"/{match.grpc}" if "/" in match.grpc else f"/{match.grpc}/"
            self.hosts.setdefault(match.host.lower().encode(), []).append((prefix.encode(), self.routes[match.route]))
        for prefixes in self.hosts.values():
            prefixes.sort(key=_longest_first)

    def _build_pool(self, plan, int workers):
        timeouts = plan.timeouts
        return TargetPool(
            [self.targets[member.target] for member in plan.members],
            [member.tier for member in plan.members],
            [member.weight for member in plan.members],
            plan.breaker,
            workers=workers,
            # by then a trial has reported its outcome, or its worker has died
            permit_ns=max(timeouts.first_token_ns, timeouts.first_byte_ns) + timeouts.connect_ns,
            shares=plan.shares if _tells_classes_apart(self.snapshot, self.priorities) else None,
            canaries=[place for place, member in enumerate(plan.members) if member.is_canary],
        )

    cdef int operation(self, bytes path) noexcept:
        cdef int found = operation_of(path)
        if found == Operation.OPERATION_UNKNOWN and self.public_status and path in STATUS_PATHS:
            return Operation.OPERATION_HEALTH
        return found

    cdef int short_operation(self, bytes path) except -1:
        cdef Py_ssize_t end = path.find(b"/", 1)
        cdef int found
        if (path[1:] if end < 0 else path[1:end]) not in SHORT_PATHS:
            return Operation.OPERATION_UNKNOWN
        found = operation_of(written_out(path))
        if path.startswith(DEPLOYMENTS) and (found not in SUFFIXES or not deployment_of_path(path)):
            return Operation.OPERATION_UNKNOWN
        return found

    cdef uint64_t members_at(self, Route route, uint64_t place) noexcept:
        cdef uint64_t found = 0
        cdef int i
        for i in range(route.pool.size):
            if route.places[i] == place and place:
                found |= <uint64_t>1 << i
        return found

    def _find_only(self):
        """Return the routes that are asked where a request names no model, by Operation."""
        found = {}
        for operation in NAMELESS:
            able = [
                self.routes[index] for index in self.snapshot.models.values()
                if CAPABILITY_OF[operation] in self.snapshot.routes[index].capabilities
                and not (<Route>self.routes[index]).is_pattern
            ]
            if len(able) == 1:
                found[operation] = able[0]
        return found

    cdef bytes name_at(self, const char* p, Py_ssize_t size):
        cdef bytes last = self.last_name
        if last is not None and size == PyBytes_GET_SIZE(last) and memcmp(p, PyBytes_AS_STRING(last), size) == 0:
            return last
        return PyBytes_FromStringAndSize(p, size)

    cdef Route model(self, bytes name):
        cdef Route route
        if name is self.last_name:
            return self.last_route
        route = self._model(name)
        if route is not None and PyBytes_GET_SIZE(name) <= LONGEST_KEPT:
            self.last_name = name
            self.last_route = route
            self.last_wildcard = self._wildcard_model(name, route)
        return route

    cdef Route _model(self, bytes name):
        cdef Route route = self.models.get(name)
        cdef Py_ssize_t slash
        if route is None and self.providers:
            slash = name.find(b"/")
            if 0 < slash < len(name) - 1:
                route = self.providers.get(name[:slash])
        if route is None and self.patterns:
            route = self._matching(name)
        return route

    cdef Route _matching(self, bytes name):
        for before, after, route in self.patterns:
            if len(name) > len(before) + len(after) and name.startswith(before) and name.endswith(after):
                return route
        return None

    cdef bytes wildcard_model(self, bytes name, Route route):
        if name is not None and name is self.last_name:
            return self.last_wildcard
        return self._wildcard_model(name, route)

    cdef bytes _wildcard_model(self, bytes name, Route route):
        if route is None or name in self.models:
            return None
        return name if route.is_pattern else name[name.find(b"/") + 1:]

    cdef Route service(self, bytes host, bytes path):
        if not self.hosts:
            return None
        return self._service(host, decode_path(path))

    cdef bint may_mislead(self, bytes host, bytes path, Route route):
        if is_plain(path):
            return False
        # servers in C end the path at a NUL, and some guess what an encoding that is cut short stands for
        if PyBytes_GET_SIZE(path) > LONGEST_READ or b"%00" in path or b"%" in path[-2:]:
            return True
        for reading in other_readings(path):
            if self._service(host, <bytes>reading) is not route:
                return True
        return False

    cdef Route _service(self, bytes host, bytes path):
        cdef Route route
        route = self._match(self.hosts.get(host), path) if host else None
        if route is None and self.operation(path) == Operation.OPERATION_UNKNOWN:
            route = self._match(self.hosts.get(b""), path)
        return route

    cdef Route _match(self, list prefixes, bytes path):
        if prefixes is not None:
            for prefix, route in prefixes:
                if covers(prefix, path):
                    return route
        return None

    def find_operation(self, bytes path not None):
        """Return the Operation of a path without query, where no service has it; 0 = none of edge's own."""
        return self.operation(path) or self.short_operation(path)

    def find_model(self, bytes name not None):
        """Return (Route or None, the upstream model that the name chooses, or None)."""
        cdef Route route = self.model(name)
        return route, self.wildcard_model(name, route)

    def misleads(self, bytes host not None, bytes path not None):
        """Return whether another server could take a service's path for one that leads elsewhere."""
        return self.may_mislead(host, path, self.service(host, path))

    def find_service(self, bytes host not None, bytes path not None):
        """Return the Route of a service, by lower-case host without port and path without query; None = no service."""
        return self.service(host, path)


def _tells_classes_apart(snapshot, set priorities):
    """Return whether callers may be of several priorities. Requests from peers may be of any priority."""
    if snapshot.peers is not None:
        return True
    classes = set(priorities)
    if not classes or any([listener.allow_anonymous for listener in snapshot.listeners]):
        classes.add(1)
    return len(classes) > 1


def _most_exact_first(entry):
    return -len(entry[0]) - len(entry[1])


def _longest_first(entry):
    return -len(entry[0])
