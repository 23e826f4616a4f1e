"""The section ``providers.NAME.auth`` of edge.yaml: as what edge calls a provider, other than by a fixed key."""

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from edge.config.fields import FilePath, Secret, about


class ProviderAuth(Struct, frozen=True, forbid_unknown_fields=True):
    """How edge authenticates to a provider, where that is not api_key as its dialect sends it.

    Tokens of azure_ad, google, aws_sigv4 and oauth2 are fetched by the control process and renewed ahead of their end.
    """

    type: Annotated[
        Literal["bearer", "header", "azure_ad", "google", "aws_sigv4", "oauth2"],
        about(
            "bearer: api_key as Authorization: Bearer. header: api_key in the field `header`. azure_ad: Microsoft "
            "Entra ID, by client_secret, by a federated token, or by managed identity. google: application default "
            "credentials. aws_sigv4: a short-term API key of Amazon Bedrock, signed with AWS keys. oauth2: client "
            "credentials at token_url."
        ),
    ]
    header: Annotated[str, about("Of type header: the field that carries api_key.")] = ""
    token_url: Annotated[
        str, about("Token endpoint of oauth2; of azure_ad, in place of login.microsoftonline.com's.")
    ] = ""
    client_id: Annotated[
        str, about("Client of oauth2 and azure_ad. Default for azure_ad: AZURE_CLIENT_ID; empty: the machine's own.")
    ] = ""
    client_secret: Annotated[Secret, about("Secret of that client.")] = Secret()
    tenant: Annotated[str, about("Tenant of azure_ad. Default: AZURE_TENANT_ID.")] = ""
    scope: Annotated[
        str,
        about(
            "Scope of the token. Default: https://cognitiveservices.azure.com/.default for azure_ad, "
            "https://www.googleapis.com/auth/cloud-platform for google, none for oauth2."
        ),
    ] = ""
    audience: Annotated[str, about("Audience of oauth2's token, for servers that ask for it.")] = ""
    token_file: Annotated[
        FilePath | None,
        about(
            "File with a token that proves who edge is, read anew at each renewal. Default: AZURE_FEDERATED_TOKEN_FILE "
            "for azure_ad, AWS_WEB_IDENTITY_TOKEN_FILE for aws_sigv4; oauth2 then needs no client_secret."
        ),
    ] = None
    credentials: Annotated[
        FilePath | None,
        about(
            "File of google: a service account's key, or an external account. Default: GOOGLE_APPLICATION_CREDENTIALS, "
            "else the metadata server."
        ),
    ] = None
    region: Annotated[str, about("Region of aws_sigv4. Default: AWS_REGION.")] = ""
    role: Annotated[str, about("ARN of a role to assume, of aws_sigv4. Default: AWS_ROLE_ARN with a token file.")] = ""
    profile: Annotated[str, about("Profile in AWS's files, of aws_sigv4. Default: AWS_PROFILE.")] = ""
    ca: Annotated[FilePath | None, about("PEM file of authorities to trust for tokens. Default: the system's.")] = None

    @property
    def fetched(self) -> bool:
        """Whether the credential is a token that control fetches."""
        return self.type not in ("bearer", "header")

    @property
    def identity(self) -> str:
        """A text that changes with what is said here: another client's token must not be used."""
        return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(self, enc_hook=str))).hexdigest()[:32]
