"""The table of problems for which edge refuses a request: status, type, code and message of each kind.

Status codes follow RFC 9110; ``type`` and ``code`` follow OpenAI's error object.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edge.listen.socket_problems import SOCKET_PROBLEMS


class Row(NamedTuple):
    """One kind of problem: HTTP status, OpenAI's ``type`` and ``code``, the request field at fault, and the message."""

    status: int
    type: str
    code: str | None
    param: str | None
    sentence: str


PROBLEMS: Final[dict[str, Row]] = {
    **{kind: Row(*row) for kind, row in SOCKET_PROBLEMS.items()},
    "unknown_path": Row(404, "invalid_request_error", "unknown_path", None, "No route matches the path {0!r}."),
    "odd_path": Row(
        400,
        "invalid_request_error",
        "odd_path",
        None,
        "Some servers would take the path {0!r} for one that leads elsewhere, because of its dot segments, empty "
        "segments, parameters or encoded separators; send it in normalized form.",
    ),
    "redirect": Row(308, "invalid_request_error", "redirect", None, "This listener only sends its clients to {0}."),
    "host_missing": Row(
        400, "invalid_request_error", "host_missing", None, "Host is missing, so that there is no place to be sent to."
    ),
    "foreign_host": Row(
        403,
        "invalid_request_error",
        "foreign_host",
        None,
        "The Host {0!r} is refused: this listener requires no key, and a web page could make any name resolve to it. "
        "Use an IP address or localhost, or write the name in listen.hosts of edge.yaml.",
    ),
    "foreign_page": Row(
        403,
        "invalid_request_error",
        "foreign_page",
        None,
        "The web page {0!r} is refused: this listener requires no key, so any page could spend your providers' credit. "
        "To permit it, write its origin in listen.cors of edge.yaml.",
    ),
    "method": Row(
        405, "invalid_request_error", "method_not_allowed", None, "The method {0} is not supported on this path."
    ),
    "body_missing": Row(400, "invalid_request_error", "body_missing", None, "This path requires a JSON body."),
    "body_too_large": Row(
        413,
        "invalid_request_error",
        "body_too_large",
        None,
        "The body is larger than {0} bytes; send a smaller one or raise limits.body.",
    ),
    "body_coding": Row(
        415,
        "invalid_request_error",
        "body_coding",
        None,
        "The body's content-encoding is not supported; send it as it is, or as one of: {0}.",
    ),
    "body_broken": Row(
        400,
        "invalid_request_error",
        "body_broken",
        None,
        "The body is not valid {0}, or expands more than a hundredfold.",
    ),
    "buffers_full": Row(
        503,
        "overloaded",
        "buffers_full",
        None,
        "This node's buffers for requests are full; retry in {0} s.",
    ),
    "malformed_json": Row(
        400, "invalid_request_error", "malformed_json", None, "The body is not a valid JSON object: {0}."
    ),
    "model_too_long": Row(
        400,
        "invalid_request_error",
        "model_too_long",
        "model",
        "The name of the model has more than {0} bytes; send the name of a model of GET /v1/models.",
    ),
    "model_missing": Row(
        400, "invalid_request_error", "model_missing", "model", "The body names no model; add the string field 'model'."
    ),
    "grpc_timeout": Row(
        400, "invalid_request_error", "grpc_timeout", None, "grpc-timeout {0!r} must be one to eight digits and a unit."
    ),
    "request_timeout": Row(
        400,
        "invalid_request_error",
        "request_timeout",
        None,
        "x-request-timeout {0!r} must be a positive number of seconds, such as 1.5, 1.5s or 200ms.",
    ),
    "compressed_call": Row(
        501,
        "invalid_request_error",
        "compressed_call",
        None,
        "Compressed messages are not supported; send them with grpc-encoding: identity.",
    ),
    "one_message": Row(
        400, "invalid_request_error", "one_message", None, "This method takes exactly one message, not {0}."
    ),
    "cannot_carry": Row(
        400,
        "invalid_request_error",
        "cannot_carry",
        None,
        "No target of this model can be asked this: {0}. Leave it out, or ask a model whose provider has this dialect.",
    ),
    "not_offered": Row(
        400,
        "invalid_request_error",
        "not_offered",
        "model",
        "No target of this model can be asked this: {0}. Ask a model whose targets offer it; what a provider offers "
        "stands in providers.NAME.capabilities.",
    ),
    "bad_requirement": Row(
        400,
        "invalid_request_error",
        "bad_requirement",
        None,
        "x-edge-require: {0}; write jurisdiction=eu,us (one of them) or capabilities=images,tools (all of them), and "
        "a semicolon between the two.",
    ),
    "requirement_unmet": Row(
        400,
        "invalid_request_error",
        "requirement_unmet",
        None,
        "No target of this model meets x-edge-require: {0}.",
    ),
    "model_not_told": Row(
        400,
        "invalid_request_error",
        "model_missing",
        "model",
        "The body names no model, and not exactly one model here declares {0}; add the string field 'model', or write "
        "require: {{capabilities: [{0}]}} at the model that is meant.",
    ),
    "form_expected": Row(
        415,
        "invalid_request_error",
        "form_expected",
        None,
        "This path takes multipart/form-data with one boundary of 1 to 70 characters (RFC 2046), in quotes unless it "
        "is a token, and without parameters of RFC 2231 such as boundary*.",
    ),
    "types_twice": Row(
        400,
        "invalid_request_error",
        "content_type_twice",
        None,
        "The request has more than one Content-Type, of which servers may take either; send one.",
    ),
    "malformed_form": Row(400, "invalid_request_error", "malformed_form", None, "The form is not valid: {0}."),
    "stream_form": Row(
        400,
        "invalid_request_error",
        "stream_form",
        None,
        "Streams are sent as server-sent events only; add alt=sse to the query.",
    ),
    "bad_message": Row(400, "invalid_request_error", "bad_message", None, "{0}"),
    "missing_key": Row(
        401,
        "invalid_request_error",
        "missing_api_key",
        None,
        "The request has no key; send a key of this edge in Authorization: Bearer KEY, x-api-key or x-goog-api-key.",
    ),
    "unknown_key": Row(
        401,
        "invalid_request_error",
        "invalid_api_key",
        None,
        "The key is not known to this edge; send a key of this edge, not one of a provider.",
    ),
    "keys_missing": Row(
        503,
        "service_unavailable",
        "keys_unavailable",
        None,
        "The key cannot be looked up: this edge has not read the keys of its cluster yet; retry in {0} s.",
    ),
    "token_refused": Row(
        401,
        "invalid_request_error",
        "invalid_token",
        None,
        "The token is refused: {0}.",
    ),
    "unknown_identity": Row(
        401,
        "invalid_request_error",
        "unknown_identity",
        None,
        "The token is valid, but this edge has no key for its name or one of its groups; an operator can write one.",
    ),
    "signing_keys_missing": Row(
        503,
        "service_unavailable",
        "identity_unavailable",
        None,
        "The token cannot be verified: the signing keys of its issuer are not known at present; retry in {0} s.",
    ),
    "tokens_flooded": Row(
        429,
        "requests",
        "too_many_refused_tokens",
        None,
        "Too many tokens from this address were refused; a new one is verified in {0} s.",
    ),
    "model_not_allowed": Row(
        403, "invalid_request_error", "model_not_allowed", "model", "This key does not permit {0!r}."
    ),
    "rate_limited_requests": Row(
        429,
        "requests",
        "rate_limit_exceeded",
        None,
        "This key's requests per minute are used up; retry in {0} s.",
    ),
    "rate_limited_tokens": Row(
        429,
        "tokens",
        "rate_limit_exceeded",
        None,
        "This key's tokens per minute are used up; retry in {0} s.",
    ),
    "rate_limited_concurrent": Row(
        429,
        "requests",
        "rate_limit_exceeded",
        None,
        "This key has reached its limit of concurrent requests; retry in {0} s.",
    ),
    "rate_limited_budget": Row(
        429,
        "insufficient_quota",
        "insufficient_quota",
        None,
        "This key's monthly budget is spent; the next month begins in {0} s.",
    ),
    "rate_limited_budget_held": Row(
        429,
        "insufficient_quota",
        "budget_reserved",
        None,
        "What is left of this key's monthly budget is reserved by requests in progress; retry in {0} s.",
    ),
    "model_unpriced": Row(
        403,
        "invalid_request_error",
        "model_not_priced",
        "model",
        "This key has a budget, and {0!r} has no price here; an operator can write it in providers.NAME.prices.",
    ),
    "peer_loop": Row(
        503,
        "service_unavailable",
        "peer_loop",
        None,
        "The request looped between regions or crossed too many of them: it has passed through {0}.",
    ),
    "unknown_id": Row(
        404,
        "invalid_request_error",
        "not_found",
        "id",
        "No {0!r} was found.",
    ),
    "issuer_elsewhere": Row(
        400,
        "invalid_request_error",
        "issuer_elsewhere",
        None,
        "The provider that issued {0!r} is not among those that are asked here: name a model of it, or send what the "
        "id stands for.",
    ),
    "issuers_differ": Row(
        400,
        "invalid_request_error",
        "issuers_differ",
        None,
        "{0!r} was issued by another provider than another id of this request; no provider knows both.",
    ),
    "uncounted": Row(
        403,
        "invalid_request_error",
        "model_not_priced",
        None,
        "This key has a budget, and what {0} costs is told by no answer; use a key without a budget.",
    ),
    "unknown_provider": Row(
        404,
        "invalid_request_error",
        "unknown_provider",
        None,
        "x-edge-provider names {0!r}, which is no provider here that keeps anything; leave it out, or name one of "
        "edge.yaml that speaks OpenAI's dialect.",
    ),
    "unknown_model": Row(
        404,
        "invalid_request_error",
        "model_not_found",
        "model",
        "The model {0!r} does not exist here; GET /v1/models lists the models, or use provider/model.",
    ),
}
"""Rows by kind, as the data path names them. ``{0}`` is the detail. For ``rate_limited_*`` and ``WAITS`` the detail is
the number of whole seconds until a retry may succeed."""

WAITS: Final = ("buffers_full", "keys_missing", "signing_keys_missing", "tokens_flooded")

MORE: Final[dict[str, list[tuple[bytes, bytes]]]] = {
    # RFC 9110 11.6.1 requires a challenge with every 401.
    "missing_key": [(b"www-authenticate", b"Bearer")],
    "unknown_key": [(b"www-authenticate", b"Bearer")],
    # RFC 6750 3.1.
    "token_refused": [(b"www-authenticate", b'Bearer error="invalid_token"')],
    "unknown_identity": [(b"www-authenticate", b'Bearer error="invalid_token"')],
    # A retry within seconds cannot succeed; the SDKs of OpenAI and Anthropic obey this field.
    "rate_limited_budget": [(b"x-should-retry", b"false")],
}
"""Additional header fields of a response, by kind."""
