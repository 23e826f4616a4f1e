"""What edge proves with who it is: tokens and keys that control has fetched. They are secret wherever they stand."""

from __future__ import annotations

from msgspec import Struct


class Signing(Struct, frozen=True):
    """AWS keys that sign each request to a target (Signature Version 4); without keys nothing is sent to it.

    ``session`` belongs to temporary keys, which end at ``expires`` (Unix seconds; 0: they have no end).
    """

    region: str
    service: str
    access: str = ""
    secret: str = ""
    session: str = ""
    expires: float = 0.0

    def __repr__(self) -> str:
        return f"<Signing {self.region}/{self.service}{'' if self.access else ' without keys'}>"


class ProviderToken(Struct, frozen=True):
    """A token, or keys, that control has fetched for a provider, and that stand in its targets too.

    Times are Unix seconds.
    """

    token: str  # "": requests are signed
    fetched: float
    expires: float
    wanted: str  # changes with what the configuration says of it
    signing: Signing | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of it nobody may see."""
        held = (self.token,) if self.signing is None else (self.signing.secret, self.signing.session)
        return tuple(text for text in held if text)

    def __repr__(self) -> str:
        return f"<ProviderToken until {self.expires:.0f}>"
