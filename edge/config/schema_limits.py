"""What may clients ask of a node, and how much may they make it hold?  The section ``limits``."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import Duration, Size, about
from edge.config.units import NS_PER_MS, NS_PER_S


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what clients may ask of the node, and make it hold."""

    body: Annotated[Size, about("Largest request body of a model; over it 413.", low=1024)] = 32 * 1024**2
    max_response: Annotated[
        Size,
        about(
            "Largest whole answer of a model that is held and checked before it is sent; more is relayed unchecked.",
            low=1024,
        ),
    ] = 32 * 1024**2
    header_bytes: Annotated[Size, about("Largest head of a request; over it 431.", low=1024, high=1024**2)] = 64 * 1024
    header_count: Annotated[int, about("Most header fields of a request; over it 431.", low=8, high=1000)] = 100
    idle: Annotated[Duration, about("A client's connection without a request is closed after this.", low=NS_PER_S)] = (
        5 * 60 * NS_PER_S
    )
    header_timeout: Annotated[
        Duration, about("A request's head must be complete within this; then 408.", low=100 * NS_PER_MS)
    ] = 10 * NS_PER_S
    body_timeout: Annotated[
        Duration,
        about("A model's request body must be complete within this, however lively its bytes; then 408.", low=NS_PER_S),
    ] = 5 * 60 * NS_PER_S
    client_idle: Annotated[
        Duration,
        about(
            "A client that has begun a request's body or is being answered, and neither sends nor reads for this long, "
            "is given up: 408 where nothing was answered yet, else cut. No target is blamed for it.",
            low=100 * NS_PER_MS,
        ),
    ] = 30 * NS_PER_S
    keepalive_comment: Annotated[
        Duration,
        about(
            "While a stream has no content yet, an SSE comment goes out this often, so that nothing between closes it.",
            low=100 * NS_PER_MS,
        ),
    ] = 15 * NS_PER_S
    connections: Annotated[int, about("Most client connections per worker; over it new ones are closed.", low=1)] = (
        16384
    )
    retry_buffer: Annotated[
        Size,
        about(
            "A service's request body up to this may be sent again; larger ones are never retried.", high=16 * 1024**2
        ),
    ] = 64 * 1024
    max_buffered: Annotated[
        Size,
        about(
            "Most bytes of requests that one worker holds at once: models' bodies until their answer begins, and what "
            "retry_buffer keeps. A request that does not fit gets 503 with Retry-After; a service's is only not kept "
            "for another try. A body being sent is copied once, so allow twice this per worker.",
            low=1024,
        ),
    ] = 256 * 1024**2
