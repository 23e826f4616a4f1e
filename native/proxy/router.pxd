"""Finds the route of a request: model aliases, provider/model, and services by host and path, compiled from a Snapshot.

Matching allocates nothing but the key of a dict look-up. It costs one look-up for a model, and for a service a walk of
the host's prefixes, longest first."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from native.state.shared_state cimport SharedState, RouteRec
from native.balance.balancer cimport TargetPool
from native.balance.queue cimport Queue
from native.state.callers cimport Callers

cpdef enum Operation:            # what kind of request a path is
    OPERATION_UNKNOWN = 0
    OPERATION_CHAT = 1           # /v1/chat/completions
    OPERATION_COMPLETIONS = 2    # /v1/completions
    OPERATION_EMBEDDINGS = 3     # /v1/embeddings
    OPERATION_RESPONSES = 4      # /v1/responses
    OPERATION_MODELS = 5         # /v1/models and /v1/models/{id}
    OPERATION_HEALTH = 6         # /healthz, and where the Snapshot shows it /edge/status: what needs no key
    OPERATION_SERVICE = 7
    OPERATION_MESSAGES = 8       # /v1/messages
    OPERATION_COUNT_TOKENS = 9   # /v1/messages/count_tokens
    OPERATION_GENERATE = 10      # /v1beta/models/{model}:generateContent
    OPERATION_STREAM = 11        # /v1beta/models/{model}:streamGenerateContent
    OPERATION_PREFLIGHT = 12     # a browser's question whether a page may send its request (CORS)
    OPERATION_MODERATION = 13    # /v1/moderations
    OPERATION_RERANK = 14        # /v1/rerank, /v2/rerank
    OPERATION_IMAGE = 15         # /v1/images/generations
    OPERATION_SPEECH = 16        # /v1/audio/speech
    OPERATION_TRANSCRIPTION = 17 # /v1/audio/transcriptions
    OPERATION_TRANSLATION = 18   # /v1/audio/translations
    OPERATION_IMAGE_EDIT = 19    # /v1/images/edits
    OPERATION_IMAGE_VARIATION = 20   # /v1/images/variations
    OPERATION_COMPACT = 21       # /v1/responses/compact
    OPERATION_INPUT_TOKENS = 22  # /v1/responses/input_tokens
    # What a provider keeps under ids of its own, and what is below that path.
    OPERATION_RESPONSE = 23      # /v1/responses/{id}
    OPERATION_CONVERSATIONS = 24 # /v1/conversations
    OPERATION_FILES = 25         # /v1/files, /v1/uploads
    OPERATION_BATCHES = 26       # /v1/batches
    OPERATION_FINE_TUNING = 27   # /v1/fine_tuning
    OPERATION_VECTOR_STORES = 28 # /v1/vector_stores
    # Gemini's own, under /v1beta/models/{model}; numbers have to stay below 31, because sets of them are bits of an int.
    OPERATION_EMBED = 29         # :embedContent, :batchEmbedContents
    OPERATION_CONTENT_TOKENS = 30    # :countTokens

cdef enum:
    OPERATIONS = 31
    # As bits: what is answered whole, whatever its body says; and what has no output tokens.
    NEVER_STREAMED = (
        1 << OPERATION_EMBEDDINGS | 1 << OPERATION_COUNT_TOKENS | 1 << OPERATION_MODERATION | 1 << OPERATION_RERANK
        | 1 << OPERATION_SPEECH | 1 << OPERATION_COMPACT | 1 << OPERATION_INPUT_TOKENS | 1 << OPERATION_EMBED
        | 1 << OPERATION_CONTENT_TOKENS
    )
    NO_OUTPUT = (
        1 << OPERATION_EMBEDDINGS | 1 << OPERATION_MODERATION | 1 << OPERATION_RERANK | 1 << OPERATION_INPUT_TOKENS
        | 1 << OPERATION_EMBED
    )
    # As bits: a request may name what a provider keeps.
    OF_RESPONSES = 1 << OPERATION_RESPONSES | 1 << OPERATION_COMPACT | 1 << OPERATION_INPUT_TOKENS
    NAMING_IDS = (
        OF_RESPONSES | 1 << OPERATION_CHAT | 1 << OPERATION_MESSAGES | 1 << OPERATION_COUNT_TOKENS
        | 1 << OPERATION_GENERATE | 1 << OPERATION_STREAM | 1 << OPERATION_EMBED | 1 << OPERATION_CONTENT_TOKENS
    )
    # As bits: the path names the model, and the body may name it too.
    NAMED_IN_PATH = 1 << OPERATION_GENERATE | 1 << OPERATION_STREAM | 1 << OPERATION_EMBED | 1 << OPERATION_CONTENT_TOKENS
    NAMED_TWICE = 1 << OPERATION_EMBED | 1 << OPERATION_CONTENT_TOKENS
    # As bits: the answer is a count of tokens, which costs nothing.
    FREE = 1 << OPERATION_COUNT_TOKENS | 1 << OPERATION_CONTENT_TOKENS
    # As bits: it is asked in its own dialect alone.
    UNTRANSLATED = 1 << OPERATION_COUNT_TOKENS | 1 << OPERATION_CONTENT_TOKENS
    # As bits: an answer may be sound or bare text, and is then relayed as it comes.
    UNREAD = 1 << OPERATION_SPEECH | 1 << OPERATION_TRANSCRIPTION | 1 << OPERATION_TRANSLATION
    # As bits: the body is a form, what its files are sound in, and what makes pictures.
    FORMS = (
        1 << OPERATION_TRANSCRIPTION | 1 << OPERATION_TRANSLATION | 1 << OPERATION_IMAGE_EDIT
        | 1 << OPERATION_IMAGE_VARIATION
    )
    SPOKEN = 1 << OPERATION_TRANSCRIPTION | 1 << OPERATION_TRANSLATION
    # As bits: what has turns, whose prompt a provider may have in its cache.
    CONVERSES = (
        1 << OPERATION_CHAT | 1 << OPERATION_COMPLETIONS | 1 << OPERATION_RESPONSES | 1 << OPERATION_MESSAGES
        | 1 << OPERATION_GENERATE | 1 << OPERATION_STREAM
    )
    # As bits: what is asked of the one provider that keeps it, and of those the ones that may cost what no answer counts.
    STORED = (
        1 << OPERATION_RESPONSE | 1 << OPERATION_CONVERSATIONS | 1 << OPERATION_FILES | 1 << OPERATION_BATCHES
        | 1 << OPERATION_FINE_TUNING | 1 << OPERATION_VECTOR_STORES
    )
    UNCOUNTED = (
        1 << OPERATION_FILES | 1 << OPERATION_BATCHES | 1 << OPERATION_FINE_TUNING | 1 << OPERATION_VECTOR_STORES
    )
    PICTURES = 1 << OPERATION_IMAGE | 1 << OPERATION_IMAGE_EDIT | 1 << OPERATION_IMAGE_VARIATION
cdef dict OPERATION_NAMES    # of those for models: also the capabilities of edge.terms.places
cdef dict CAPABILITY_OF      # the capability that a target declares to be asked, by operation
cdef dict DIALECT_OF         # the dialect of a client, by operation; completions and embeddings have none
cdef tuple NAMELESS          # operations whose requests may name no model
cdef bytes BATCH_EMBED       # the suffix of Gemini's embeddings of several texts at once
cdef dict SUFFIXES           # the path behind a provider's base path, by operation; Gemini's name the model
# The model that a path of Gemini's or of Azure's names, still in percent-encoding; b"" = none.
cdef bytes model_of_path(bytes path)
cdef bytes deployment_of_path(bytes path)
# The path as OpenAI writes it: with /v1, and without a slash at the end.
cdef bytes written_out(bytes path)

cdef struct Timeouts:            # of edge.terms.snapshot.Timeouts, under the same names
    uint64_t connect_ns, first_byte_ns, whole_first_byte_ns, first_token_ns, stream_idle_ns, total_ns

cpdef enum Rescue:              # who may go on with a stream that breaks off after the commit point
    RESCUE_NEVER = 0
    RESCUE_SAME_MODEL = 1       # another target with the same upstream model, if it continues a message (prefill)
    RESCUE_TEXT = 2             # any other target

cpdef enum KeptBy:              # what is kept at the target that has its prompt in its cache
    AFFINITY_NONE = 0
    AFFINITY_AUTO = 1           # a conversation
    AFFINITY_PREFIX = 2         # every prompt, by the longest part of it

cdef class Route:
    """A route as this worker sees it: record, pool and policy in native units."""
    cdef readonly SharedState shared_state
    cdef RouteRec* rec
    cdef readonly str name
    cdef readonly int slot
    cdef readonly bint is_service
    cdef readonly bint is_pattern   # its name has one *, and it answers all names that fit
    cdef readonly TargetPool pool
    cdef readonly Queue queue       # of this worker
    cdef readonly Timeouts timeouts
    cdef readonly int attempts
    cdef readonly bint idempotent       # a service: what is sent again may be carried out twice
    cdef readonly double budget
    cdef readonly int same_target   # how often an exchange asks a target that has failed fast once more
    cdef readonly uint64_t wait_ns  # how long it waits for a better tier that rests
    cdef readonly double hedge_share        # of requests that a second target may be asked for meanwhile; 0 = none
    cdef readonly double hedge_percentile   # ... after this share of its target's times to first content; 0 = after
    cdef readonly uint64_t hedge_after_ns   # ... this time
    cdef readonly int rescue        # a Rescue
    cdef readonly uint64_t cache_ttl_ns     # how long an answer is fresh; 0 = none is kept
    cdef readonly uint64_t cache_stale_ns   # how much longer it may be used instead of an error
    cdef readonly bint cache_shared         # callers share answers
    cdef bytes cache_scope          # the route and its targets
    cdef readonly int affinity      # a KeptBy; none in a pool of one
    cdef readonly int prefer        # a native.balance.preference.Preference; order in a pool of one
    cdef readonly bint strict       # a target that cannot carry a hint is not asked
    cdef uint64_t[31] foreign       # by operation: a bit per member that does not speak the client's dialect
    cdef uint64_t[31] unfit         # by operation: a bit per member that is never asked it
    cdef str embeds                 # the upstream model that embeddings are asked of
    cdef bint mixed                 # a member is asked more than chats
    cdef uint64_t regions           # a bit per member that is another region's edge
    cdef uint64_t canaries          # a bit per member that is a canary
    cdef uint64_t[64] rescuers      # by member: a bit per member that may go on with an answer which breaks off there
    cdef uint64_t[64] absent_ns     # until when such a member is not asked: it had nothing for this route. The lowest
                                    # bit: all targets there are rate-limited.
    cdef int64_t[64] windows        # context windows of members in tokens; 0 = not known
    cdef readonly Route shadow      # what a share of its requests is copied to; None = nothing is copied
    cdef readonly uint64_t shadow_below     # a request is copied if a random number is below this
    cdef readonly uint32_t shadow_most      # copies in flight in this worker
    cdef frozenset shadow_methods   # of a service: what may be copied
    cdef uint32_t shadow_waiting    # copies that have not begun yet: of a route that copies take
    cdef follow(self, Route shadow, object plan)    # copy requests to ``shadow``, as edge.terms.snapshot.Shadow says
    cdef uint64_t[64] places        # by member: the word of who keeps what it has made; 0 = another region does
    cdef uint64_t _find_rescuers(self, int index) except? 0
    cdef str _embeds(self)
    # "TARGET: WHY" of the members that are never asked this operation.
    cdef list unfit_because(self, int operation)

cdef class Router:
    """The compiled Snapshot. Immutable after construction; exchanges hold a reference to the one they began with."""
    cdef readonly object snapshot   # edge.terms.snapshot.Snapshot
    cdef readonly list targets      # native.balance.balancer.Target, in Snapshot order
    cdef readonly list routes       # Route, in Snapshot order
    cdef readonly Callers callers   # None = callers need no keys
    cdef set priorities             # of all keys
    cdef readonly bint metered      # a key or a credential has a token limit, or a key a budget
    cdef bint affine                # a route keeps conversations or prompts
    cdef bint public_status         # /edge/status is one of edge's own paths
    cdef dict models                # bytes -> Route
    cdef dict only                  # Operation -> the Route of requests that name no model; without one, they are refused
    cdef dict providers             # bytes -> Route (wildcards)
    cdef list patterns              # (bytes before the *, bytes after it, Route), the most exact first
    cdef dict hosts                 # bytes host -> list[(bytes prefix, Route)], longest first; b"" = any host
    cdef bytes last_name            # the model that was found last
    cdef Route last_route           # ... its route
    cdef bytes last_wildcard        # ... and its wildcard_model()
    cdef readonly Route stored      # all providers, for what they keep; None = none keeps anything
    # Return the operation of a path (without query). The method does not matter: a wrong method is 405, not 404.
    cdef int operation(self, bytes path) noexcept
    # The same for a path without /v1, or as Azure writes it. Ask this last: services come first.
    cdef int short_operation(self, bytes path) except -1
    # Bits of the members of ``route`` that are the place of this word.
    cdef uint64_t members_at(self, Route route, uint64_t place) noexcept
    # The route of a model name as the client wrote it (unescaped UTF-8); None = unknown. An alias wins over provider/model,
    # and that over a pattern.
    cdef Route model(self, bytes name)
    # The name as an object: the one that was asked for last, if it is the same.
    cdef bytes name_at(self, const char* p, Py_ssize_t size)
    # The upstream model that the name chooses: what follows the slash of a provider's wildcard, or the whole name where a
    # pattern matched; None = the target has its own.
    cdef bytes wildcard_model(self, bytes name, Route route)
    cdef Route _model(self, bytes name)
    cdef bytes _wildcard_model(self, bytes name, Route route)
    cdef Route _matching(self, bytes name)
    # Ask this first, then operation(): which of them wins is decided here (see router.pyx). host: lower case, no port.
    # OPERATION_SERVICE is what a match here means; operation() itself never returns it.
    cdef Route service(self, bytes host, bytes path)
    # Whether a server behind ``route`` could take the path for one that leads elsewhere, or to no service.
    cdef bint may_mislead(self, bytes host, bytes path, Route route)
    cdef Route _service(self, bytes host, bytes path)
    cdef Route _match(self, list prefixes, bytes path)
