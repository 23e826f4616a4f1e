"""Wraps OpenSSL's contexts and connections; every result is a number, every reason a sentence without secrets."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcpy
from native.io.openssl cimport *
from native.io.posix cimport EPOLLOUT
from native.io.tls_tickets cimport TicketKeys, use_ticket_keys

from hashlib import sha256

cdef enum:
    RECORD = 16384
    # TLS 1.3 tickets are used once each, so this many connections in a burst can resume.
    SAVED_SESSIONS = 16

# As Python's ssl module chooses them: forward secrecy, authenticated encryption first.
cdef bytes CIPHERS = b"@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AESGCM:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
cdef char[RECORD] JOINED


cdef inline void forget_errors() noexcept:
    """Empty this thread's queue of errors, by which OpenSSL tells why its next call fails."""
    if ERR_peek_error() != 0:       # emptying costs much more than a look, and the queue is empty nearly always
        ERR_clear_error()


cdef str reason_of(unsigned long error):
    """Return OpenSSL's reason in its own upper-case form, as ``ssl.SSLError.reason`` has it."""
    cdef const char* text = ERR_reason_error_string(error)
    return "unknown failure" if text == NULL else text.decode("ascii", "replace").upper().replace(" ", "_")


cdef int no_password(char* buffer, int size, int writing, void* argument) noexcept:
    return 0        # no passphrase: OpenSSL would ask for one at the terminal


cdef int choose_protocol(
    SSL* ssl, const unsigned char** chosen, unsigned char* size, const unsigned char* theirs, unsigned int theirs_size,
    void* argument,
) noexcept:
    cdef TlsContext context = <TlsContext>argument
    if SSL_select_next_proto(
        <unsigned char**>chosen, size, <const unsigned char*>PyBytes_AS_STRING(context.protocols),
        <unsigned int>PyBytes_GET_SIZE(context.protocols), theirs, theirs_size,
    ) != OPENSSL_NPN_NEGOTIATED:
        return SSL_TLSEXT_ERR_NOACK
    return SSL_TLSEXT_ERR_OK


cdef int choose_certificate(SSL* ssl, int* alert, void* argument) noexcept:
    """Continue a handshake with the certificate for the name that the client asks for."""
    cdef const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
    cdef TlsContext other
    if name == NULL:
        return SSL_TLSEXT_ERR_NOACK
    other = (<TlsContext>argument).context_for(name)
    if other is not None:
        SSL_set_SSL_CTX(ssl, other.context)
    return SSL_TLSEXT_ERR_OK


cdef class SavedSession:
    """A session that a server has given us, to be resumed once."""
    cdef SSL_SESSION* session

    def __dealloc__(self):
        if self.session != NULL:
            SSL_SESSION_free(self.session)


cdef int save_session(SSL* ssl, SSL_SESSION* session) noexcept:
    """Keep a session for a later connection to the same server name."""
    cdef TlsSession owner = <TlsSession>SSL_get_app_data(ssl)
    if owner.server_name is None:
        return 0
    keep_session(owner, session)
    return 1


cdef int keep_session(TlsSession owner, SSL_SESSION* session) except -1:
    cdef SavedSession saved = SavedSession.__new__(SavedSession)
    kept = owner.context.sessions.setdefault(owner.server_name, [])
    if len(kept) >= <int>SAVED_SESSIONS:
        kept.pop(0)
    saved.session = session
    kept.append(saved)


cdef class TlsContext:
    """The TLS policy of a listener or of the connections to a provider; TLS 1.2 or newer.

    Args:
        server: for connections that are accepted; otherwise for those that are opened.
        protocols: what is offered or accepted by ALPN, the preferred one first.
    """
    def __init__(self, bint server, protocols):
        self.is_server = server
        self.sessions = {}
        self.protocols = b"".join([bytes([len(name)]) + name for name in protocols])
        self.context = SSL_CTX_new(TLS_server_method() if server else TLS_client_method())
        if self.context == NULL:
            raise MemoryError
        SSL_CTX_set_min_proto_version(self.context, TLS1_2_VERSION)
        SSL_CTX_set_options(
            self.context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE
        )
        SSL_CTX_set_mode(
            self.context,
            SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS,
        )
        SSL_CTX_set_cipher_list(self.context, CIPHERS)
        SSL_CTX_set_read_ahead(self.context, 1)
        SSL_CTX_set_default_passwd_cb(self.context, no_password)
        if server:
            SSL_CTX_set_alpn_select_cb(self.context, choose_protocol, <void*>self)
            SSL_CTX_set_session_cache_mode(self.context, SSL_SESS_CACHE_OFF)        # tickets are enough
        else:
            SSL_CTX_set_alpn_protos(
                self.context, <const unsigned char*>PyBytes_AS_STRING(self.protocols),
                <unsigned int>PyBytes_GET_SIZE(self.protocols),
            )
            SSL_CTX_set_session_cache_mode(self.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL)
            SSL_CTX_sess_set_new_cb(self.context, save_session)

    def __dealloc__(self):
        if self.context != NULL:
            SSL_CTX_free(self.context)

    def load_identity(self, str cert, key):
        """Load a certificate chain and its private key, PEM; without ``key`` the first file holds both.

        Raises:
            OSError: a file cannot be read or used; ``strerror`` says why.
        """
        cdef bytes cert_path = cert.encode()
        cdef bytes key_path = cert_path if key is None else (<str>key).encode()
        for path in (cert_path, key_path):
            with open(path, "rb"):      # OpenSSL does not say which file is missing, nor why
                pass
        ERR_clear_error()
        if (
            SSL_CTX_use_certificate_chain_file(self.context, cert_path) != 1
            or SSL_CTX_use_PrivateKey_file(self.context, key_path, SSL_FILETYPE_PEM) != 1
            or SSL_CTX_check_private_key(self.context) != 1
        ):
            reason = reason_of(ERR_peek_error())
            ERR_clear_error()
            raise OSError(0, reason)

    def names(self):
        """Return the DNS names of the certificate that was loaded, in lower case; ``*.`` stands for one label."""
        return [name.lower().encode() for kind, name in names_of(SSL_CTX_get0_certificate(self.context)) if kind == "DNS"]

    def serve_others(self, others):
        """Show a client one of the certificates of these contexts, if it asks for a name that none before it has."""
        cdef TlsContext context
        if not others:
            return
        self.by_name = {}
        for context in (self, *others):
            for name in context.names():
                self.by_name.setdefault(name, None if context is self else context)     # None breaks a cycle
        SSL_CTX_set_tlsext_servername_callback(self.context, choose_certificate)
        SSL_CTX_set_tlsext_servername_arg(self.context, <void*>self)

    cdef TlsContext context_for(self, bytes name):
        cdef Py_ssize_t dot
        name = name.lower()
        if name in self.by_name:
            return self.by_name[name]
        dot = name.find(b".")
        return None if dot < 0 else self.by_name.get(b"*" + name[dot:])

    def load_authorities(self, file, folder):
        """Trust the authorities of a PEM file, of a folder with hashed names, or both.

        Raises:
            OSError: the file cannot be read or used.
        """
        cdef bytes path, folder_path
        path = None if file is None else (<str>file).encode()
        folder_path = None if folder is None else (<str>folder).encode()
        if path is not None:
            with open(path, "rb"):
                pass
        ERR_clear_error()
        if SSL_CTX_load_verify_locations(
            self.context, NULL if path is None else PyBytes_AS_STRING(path),
            NULL if folder_path is None else PyBytes_AS_STRING(folder_path),
        ) != 1:
            reason = reason_of(ERR_peek_error())
            ERR_clear_error()
            raise OSError(0, reason)

    def verify_peer(self, bint required):
        """Verify the peer's certificate, or do not ask for it."""
        SSL_CTX_set_verify(
            self.context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT if required else SSL_VERIFY_NONE, NULL
        )

    def share_tickets(self, bytes secret not None, bytes scope not None):
        """Derive the keys of session tickets from ``secret`` and the hour, so that processes that know it resume each
        other's sessions.

        A session is resumed only where ``scope`` is the same as where it began: it must name whatever is verified of a
        client, because a resumed session is not verified again.
        """
        cdef bytes name = sha256(scope).digest()
        SSL_CTX_set_session_id_context(
            self.context, <const unsigned char*>PyBytes_AS_STRING(name), <unsigned int>PyBytes_GET_SIZE(name)
        )
        self.ticket_keys = TicketKeys(secret)
        use_ticket_keys(self.context, self.ticket_keys)

    cdef TlsSession open_session(self, bytes server_name):
        cdef TlsSession session = TlsSession.__new__(TlsSession)
        session.context = self
        session.server_name = server_name
        return session


cdef class TlsSession:
    def __dealloc__(self):
        if self.ssl != NULL:
            SSL_free(self.ssl)

    cdef int attach(self, int fd) except -1:
        cdef X509_VERIFY_PARAM* param
        cdef SavedSession saved
        self.ssl = SSL_new(self.context.context)
        if self.ssl == NULL or SSL_set_fd(self.ssl, fd) != 1:
            reason = reason_of(ERR_peek_error())
            ERR_clear_error()
            raise OSError(0, f"TLS cannot begin: {reason}")
        SSL_set_app_data(self.ssl, <void*>self)
        if self.context.is_server:
            SSL_set_accept_state(self.ssl)
            return 0
        SSL_set_connect_state(self.ssl)
        if self.server_name is None:
            return 0
        param = SSL_get0_param(self.ssl)
        if X509_VERIFY_PARAM_set1_ip_asc(param, self.server_name) != 1:
            ERR_clear_error()
            SSL_set_tlsext_host_name(self.ssl, PyBytes_AS_STRING(self.server_name))
            X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS)
            X509_VERIFY_PARAM_set1_host(param, self.server_name, PyBytes_GET_SIZE(self.server_name))
        kept = self.context.sessions.get(self.server_name)
        if kept:
            saved = <SavedSession>kept.pop()
            SSL_set_session(self.ssl, saved.session)
        return 0

    cdef int detach(self) except -1:
        """Free OpenSSL's state. The facts about the session stay readable."""
        if self.ssl != NULL:
            SSL_free(self.ssl)
            self.ssl = NULL

    cdef int handshake(self):
        cdef int result
        forget_errors()
        result = SSL_do_handshake(self.ssl)
        if result == 1:
            self.is_established = True
            self.wants = 0
            self.sent_whole = self.sent()
            if self.server_name is not None and SSL_session_reused(self.ssl) and SSL_version(self.ssl) < TLS1_3_VERSION:
                # OpenSSL tells of new sessions only. In TLS 1.2 one may be resumed many times.
                keep_session(self, SSL_get1_session(self.ssl))
            return 0
        result = <int>self._judge(result)
        if result == TLS_ENDED or result == TLS_TRUNCATED:
            self.error = "the peer closed the connection during the TLS handshake"
            return TLS_FAILED
        return result

    cdef Py_ssize_t _judge(self, int result):
        """Return the TLS_ result for a call of OpenSSL that did not succeed."""
        cdef int kind = SSL_get_error(self.ssl, result)
        if kind == SSL_ERROR_WANT_READ:
            self.wants = 0
            return TLS_WAITS
        if kind == SSL_ERROR_WANT_WRITE:
            self.wants = EPOLLOUT
            return TLS_WAITS
        if kind == SSL_ERROR_ZERO_RETURN:
            return TLS_ENDED
        if kind == SSL_ERROR_SYSCALL:
            self.error = "the connection was reset"
            self.said_goodbye = True
            return TLS_FAILED
        self.said_goodbye = True        # OpenSSL forbids SSL_shutdown on a broken connection
        if ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING:
            ERR_clear_error()
            return TLS_TRUNCATED
        self._explain()
        return TLS_FAILED

    cdef int _explain(self) except -1:
        cdef long verdict = SSL_get_verify_result(self.ssl)
        cdef str name = "" if self.server_name is None else self.server_name.decode("ascii", "replace")
        if self.is_established or verdict == X509_V_OK:
            self.error = f"TLS failed: {reason_of(ERR_peek_error())}"
        elif verdict == X509_V_ERR_HOSTNAME_MISMATCH:
            self.error = f"certificate refused: Hostname mismatch, certificate is not valid for '{name}'."
        elif verdict == X509_V_ERR_IP_ADDRESS_MISMATCH:
            self.error = f"certificate refused: IP address mismatch, certificate is not valid for '{name}'."
        else:
            self.error = f"certificate refused: {X509_verify_cert_error_string(verdict).decode('ascii', 'replace')}"
        ERR_clear_error()

    cdef Py_ssize_t read(self, char* buffer, Py_ssize_t size):
        cdef int result
        forget_errors()
        result = SSL_read(self.ssl, buffer, <int>size)
        return result if result > 0 else self._judge(result)

    cdef Py_ssize_t write(self, const char* data, Py_ssize_t size):
        cdef uint32_t wanted = self.wants       # by reading, which a write that waits does not change
        cdef int result
        forget_errors()
        result = SSL_write(self.ssl, data, <int>min(size, <Py_ssize_t>(1 << 30)))
        if result > 0:
            self.sent_whole = self.sent()
            return result
        self.may_read_on = SSL_get_error(self.ssl, result) == SSL_ERROR_SYSCALL
        result = <int>self._judge(result)
        self.wants = wanted
        return result

    cdef Py_ssize_t write_joined(self, bytes first, Py_ssize_t offset, list rest):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(first) - offset
        cdef Py_ssize_t part
        if size >= <Py_ssize_t>RECORD:
            return self.write(PyBytes_AS_STRING(first) + offset, size)
        memcpy(JOINED, PyBytes_AS_STRING(first) + offset, size)
        for item in rest:
            part = min(PyBytes_GET_SIZE(<bytes>item), <Py_ssize_t>RECORD - size)
            memcpy(JOINED + size, PyBytes_AS_STRING(<bytes>item), part)
            size += part
            if size == <Py_ssize_t>RECORD:
                break
        return self.write(JOINED, size)

    cdef int64_t sent(self) noexcept:
        return 0 if self.ssl == NULL else <int64_t>BIO_number_written(SSL_get_wbio(self.ssl))

    cdef bint holds_bytes(self):
        return self.ssl != NULL and SSL_has_pending(self.ssl) == 1

    cdef bint say_goodbye(self):
        cdef int result
        if self.ssl == NULL or not self.is_established or self.said_goodbye:
            return True
        forget_errors()
        result = SSL_shutdown(self.ssl)
        self.said_goodbye = result >= 0 or SSL_get_error(self.ssl, result) != SSL_ERROR_WANT_WRITE
        ERR_clear_error()
        return self.said_goodbye

    cdef bytes protocol(self):
        cdef const unsigned char* name = NULL
        cdef unsigned int size = 0
        if self.ssl != NULL:
            SSL_get0_alpn_selected(self.ssl, &name, &size)
        return (<const char*>name)[:size] if size else b""

    cdef tuple subject_alt_names(self):
        cdef X509* certificate = NULL if self.ssl == NULL else SSL_get0_peer_certificate(self.ssl)
        if certificate == NULL or SSL_get_verify_result(self.ssl) != X509_V_OK:
            return ()
        return names_of(certificate)


cdef tuple names_of(X509* certificate):
    """Return the alternative names of a certificate as (kind, name) pairs."""
    cdef GENERAL_NAMES* names
    cdef GENERAL_NAME* name
    cdef list found = []
    cdef int index
    if certificate == NULL:
        return ()
    names = <GENERAL_NAMES*>X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL)
    if names == NULL:
        return ()
    for index in range(sk_GENERAL_NAME_num(names)):
        name = sk_GENERAL_NAME_value(names, index)
        if name.type == GEN_DNS or name.type == GEN_EMAIL or name.type == GEN_URI:
            kind = "DNS" if name.type == GEN_DNS else "email" if name.type == GEN_EMAIL else "URI"
            text = (<const char*>ASN1_STRING_get0_data(name.d.ia5))[:ASN1_STRING_length(name.d.ia5)]
            found.append((kind, text.decode("ascii", "replace")))
        elif name.type == GEN_IPADD:
            text = (<const char*>ASN1_STRING_get0_data(name.d.ip))[:ASN1_STRING_length(name.d.ip)]
            found.append(("IP Address", printed(text)))
    GENERAL_NAMES_free(names)
    return tuple(found)


cdef str printed(bytes address):
    """Return an address of 4 or 16 bytes as text."""
    if len(address) == 4:
        return ".".join([str(part) for part in address])
    return ":".join([f"{address[at] << 8 | address[at + 1]:X}" for at in range(0, len(address) - 1, 2)])
