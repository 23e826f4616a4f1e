"""The section ``providers.NAME.auth`` of edge.yaml: as what edge calls a provider, other than by a fixed key."""

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from edge.config.fields import FilePath, Secret, about


class ProviderAuth(Struct, frozen=True, forbid_unknown_fields=True):
    """How edge authenticates to a provider, where that is not api_key as its dialect sends it.

    What azure_ad, google, aws_sigv4, bedrock_key and oauth2 need is fetched by the control process and renewed ahead of
    its end.
    """

    type: Annotated[
        Literal["bearer", "header", "azure_ad", "google", "aws_sigv4", "bedrock_key", "oauth2"],
        about(
            "bearer: api_key as Authorization: Bearer. header: api_key in the field `header`. azure_ad: Microsoft "
            "Entra ID, by client_secret, by a federated token, or by managed identity. google: application default "
            "credentials. aws_sigv4: each request is signed with AWS keys (Signature Version 4). bedrock_key: AWS keys "
            "make a short-term API key of Amazon Bedrock, which is sent as Authorization: Bearer. oauth2: client "
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
            "for azure_ad, AWS_WEB_IDENTITY_TOKEN_FILE for AWS; oauth2 then needs no client_secret."
        ),
    ] = None
    credentials: Annotated[
        FilePath | None,
        about(
            "File of google: a service account's key, or an external account. Default: GOOGLE_APPLICATION_CREDENTIALS, "
            "else the metadata server."
        ),
    ] = None
    region: Annotated[
        str,
        about("Region of AWS. Default: the provider's region, that in a base_url of AWS, or AWS_REGION."),
    ] = ""
    service: Annotated[str, about("Service of AWS that aws_sigv4 signs for, such as sagemaker. Default: bedrock.")] = ""
    role: Annotated[str, about("ARN of a role of AWS to assume. Default: AWS_ROLE_ARN with a token file.")] = ""
    profile: Annotated[str, about("Profile in AWS's files. Default: AWS_PROFILE.")] = ""
    ca: Annotated[FilePath | None, about("PEM file of authorities to trust for tokens. Default: the system's.")] = None

    @property
    def fetched(self) -> bool:
        """Whether the credential is a token that control fetches."""
        return self.type not in ("bearer", "header")

    @property
    def is_aws(self) -> bool:
        """Whether the credential begins with AWS keys."""
        return self.type in ("aws_sigv4", "bedrock_key")

    @property
    def signs(self) -> bool:
        """Whether each request is signed, rather than sent with a token."""
        return self.type == "aws_sigv4"

    @property
    def identity(self) -> str:
        """A text that changes with what is said here: another client's token must not be used."""
        return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(self, enc_hook=str))).hexdigest()[:32]
