"""The section ``limits`` of edge.yaml: what clients may send, and how much a node buffers."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import Duration, Size, about
from edge.config.units import NS_PER_MS, NS_PER_S


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what clients may send to the node, and on what the node holds for them."""

    body: Annotated[Size, about("Largest request body of a model. Above it: 413.", low=1024)] = 32 * 1024**2
    max_response: Annotated[
        Size,
        about(
            "Largest whole response of a model that is held and checked before it is sent. A larger one is "
            "relayed unchecked.",
            low=1024,
        ),
    ] = 32 * 1024**2
    header_bytes: Annotated[Size, about("Largest head of a request. Above it: 431.", low=1024, high=1024**2)] = (
        64 * 1024
    )
    header_count: Annotated[int, about("Most header fields of a request. Above it: 431.", low=8, high=1000)] = 100
    idle: Annotated[
        Duration,
        about(
            "A client's connection without a request is closed after this time; one that has not asked yet after "
            "header_timeout, if that is shorter.",
            low=NS_PER_S,
        ),
    ] = 5 * 60 * NS_PER_S
    header_timeout: Annotated[
        Duration,
        about(
            "The head of a request must be complete within this time. Then: 408. A new connection must begin its first "
            "request within this time of being accepted, PROXY header and TLS handshake included. Then: closed.",
            low=100 * NS_PER_MS,
        ),
    ] = 10 * NS_PER_S
    body_timeout: Annotated[
        Duration,
        about(
            "The body of a model's request must be complete within this time, however steadily it arrives. Then: 408.",
            low=NS_PER_S,
        ),
    ] = 5 * 60 * NS_PER_S
    client_idle: Annotated[
        Duration,
        about(
            "A client that is sending a body or receiving a response, and neither sends nor reads for this "
            "time, is given up: 408 if no response has begun, otherwise the connection is cut. No target is "
            "blamed.",
            low=100 * NS_PER_MS,
        ),
    ] = 30 * NS_PER_S
    keepalive_comment: Annotated[
        Duration,
        about(
            "While a stream has no content, edge sends an SSE comment this often, so that no proxy in between "
            "closes the connection. "
            "Clients of Gemini get none: Google's SDK for Python takes it for JSON.",
            low=100 * NS_PER_MS,
        ),
    ] = 15 * NS_PER_S
    websocket_age: Annotated[
        Duration,
        about(
            "A WebSocket on /v1/responses begins no further turn after this time, and is closed when none runs. "
            "Clients expect OpenAI's 60 minutes.",
            low=NS_PER_S,
        ),
    ] = 60 * 60 * NS_PER_S
    connections: Annotated[
        int,
        about(
            "Most client connections per worker. Above it, a new one takes the place of the one that has been without "
            "a request longest; where all have requests, it is closed. 0: as many as the limit of open files allows, "
            "less a few that are kept for connections to targets.",
            low=0,
        ),
    ] = 0
    retry_buffer: Annotated[
        Size,
        about(
            "Largest request body of a service that may be sent again. Requests with larger bodies are not retried.",
            high=16 * 1024**2,
        ),
    ] = 64 * 1024
    cache: Annotated[
        Size,
        about(
            "Most memory of the node for answers that are kept (cache of a model). The least recently used ones go "
            "first. An answer takes at most an eighth. It cannot change while the node runs.",
            low=1024**2,
        ),
    ] = 64 * 1024**2
    affinity: Annotated[
        Size,
        about(
            "Most memory of the node for what stays where (affinity of a model): 8 bytes for each request of the last "
            "minutes. What expires first goes first. It cannot change while the node runs.",
            low=64 * 1024,
            high=4 * 1024**3,
        ),
    ] = 32 * 1024**2
    issued_ids: Annotated[
        int,
        about(
            "Ids of responses, files, batches and the like for which the node remembers the provider that issued them. "
            "The one unused for longest goes first; it is asked for at each provider then. 64 bytes each. It cannot "
            "change while the node runs.",
            low=8,
            high=16 * 1024**2,
        ),
    ] = 65_536
    max_buffered: Annotated[
        Size,
        about(
            "Most bytes that one worker holds at once: bodies of models until their response begins, or until it ends "
            "where rescue may need them and half of this is free; what retry_buffer keeps, whole answers until they "
            "are checked, what clients have not read, and what rescue keeps. One key, and without keys one client's "
            "address off loopback, gets at most half of what others leave, so it must be twice body for them. A "
            "request that does not fit gets 503 with Retry-After; one to a service is only not kept for a retry; an "
            "answer is relayed unchecked. While half of this or of such a part is used, a client for which over 64 "
            "KiB are held is cut if it moves less than 1 KiB/s for 30 s (or client_idle). A body in transit is copied "
            "once, so allow twice this per worker.",
            low=1024,
        ),
    ] = 256 * 1024**2
