"""The section ``auth`` of edge.yaml: callers that show a token of an identity provider instead of a key."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import Duration, FilePath, about
from edge.config.units import NS_PER_S

_MINUTE: int = 60 * NS_PER_S


class Jwt(Struct, frozen=True, forbid_unknown_fields=True):
    """An issuer of tokens (JWT, OpenID Connect) whose word on who a caller is counts.

    Tokens are signed with RS256 to RS512, PS256 to PS512, ES256 to ES512 or EdDSA; others are refused.
    """

    issuer: Annotated[str, about("What the claim iss says, character for character.")]
    audience: Annotated[
        str, about("What the claim aud says or has among others, so that tokens for others are refused.")
    ]
    jwks: Annotated[
        str,
        about("URL of the issuer's signing keys. Empty: what ISSUER/.well-known/openid-configuration says."),
    ] = ""
    name: Annotated[
        str,
        about(
            "The claim whose text leads to the key of this name, or with this text among its identities. a.b is b "
            "within a. Callers must not be able to choose it themselves."
        ),
    ] = "sub"
    groups: Annotated[
        str,
        about(
            "The claim that lists groups. The first that is among the groups of a key leads to it if no key is for the "
            "name."
        ),
    ] = "groups"
    prefix: Annotated[
        str,
        about("Put before each name and group of this issuer, so that none of another issuer can be the same."),
    ] = ""
    key: Annotated[str, about("The key of all other callers with a valid token. Empty: they are refused.")] = ""
    stale: Annotated[
        Duration,
        about(
            "How long known signing keys count while the issuer does not give them out. Then its callers are refused.",
            low=_MINUTE,
        ),
    ] = 24 * 60 * _MINUTE
    leeway: Annotated[
        Duration,
        about(
            "How far the issuer's clock may be ahead of this node's, for nbf and iat. exp has none.",
            low=0,
            high=5 * _MINUTE,
        ),
    ] = 10 * NS_PER_S
    ca: Annotated[FilePath | None, about("PEM file of authorities to trust for jwks. Default: the system's.")] = None


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may call without a key of edge's own. What each caller may use stands in keys."""

    jwt: Annotated[tuple[Jwt, ...], about("Issuers of tokens. Default: no token is accepted.")] = ()
