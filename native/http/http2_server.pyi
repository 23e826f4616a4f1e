# How does a client's HTTP/2 connection look on the wire?  Types of the compiled module.

from native.http.http2_connection import Http2Wire
from native.http.stream import Acceptor, ClientCertificate

class Http2Server(Http2Wire):
    # The protocol object of one client connection.

    def __init__(
        self, acceptor: Acceptor, allow_anonymous: bool = False, certificate: ClientCertificate | None = None
    ) -> None: ...
    def retire(self) -> None: ...
    def kill(self) -> None: ...
