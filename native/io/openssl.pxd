"""Declares the part of OpenSSL 3 that native/io uses."""

from libc.stdint cimport uint64_t

cdef extern from "<openssl/ssl.h>":
    ctypedef struct SSL_CTX:
        pass
    ctypedef struct SSL:
        pass
    ctypedef struct SSL_METHOD:
        pass
    ctypedef struct SSL_SESSION:
        pass
    ctypedef struct X509:
        pass
    ctypedef struct X509_VERIFY_PARAM:
        pass
    ctypedef struct BIO:
        pass

    enum:
        SSL_ERROR_NONE
        SSL_ERROR_SSL
        SSL_ERROR_WANT_READ
        SSL_ERROR_WANT_WRITE
        SSL_ERROR_SYSCALL
        SSL_ERROR_ZERO_RETURN
        SSL_VERIFY_NONE
        SSL_VERIFY_PEER
        SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        SSL_FILETYPE_PEM
        SSL_TLSEXT_ERR_OK
        SSL_TLSEXT_ERR_NOACK
        TLSEXT_NAMETYPE_host_name
        OPENSSL_NPN_NEGOTIATED
        TLS1_2_VERSION
        TLS1_3_VERSION
        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
        X509_V_OK
        X509_V_ERR_HOSTNAME_MISMATCH
        X509_V_ERR_IP_ADDRESS_MISMATCH

    const unsigned long long SSL_OP_NO_RENEGOTIATION
    const unsigned long long SSL_OP_NO_COMPRESSION
    const unsigned long long SSL_OP_CIPHER_SERVER_PREFERENCE
    const long SSL_MODE_ENABLE_PARTIAL_WRITE
    const long SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
    const long SSL_MODE_RELEASE_BUFFERS
    const long SSL_SESS_CACHE_OFF
    const long SSL_SESS_CACHE_CLIENT
    const long SSL_SESS_CACHE_NO_INTERNAL
    const int SSL_R_UNEXPECTED_EOF_WHILE_READING

    const SSL_METHOD* TLS_client_method()
    const SSL_METHOD* TLS_server_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD* method)
    void SSL_CTX_free(SSL_CTX* context)
    unsigned long long SSL_CTX_set_options(SSL_CTX* context, unsigned long long options)
    long SSL_CTX_set_mode(SSL_CTX* context, long mode)
    int SSL_CTX_set_min_proto_version(SSL_CTX* context, int version)
    int SSL_CTX_set_cipher_list(SSL_CTX* context, const char* ciphers)
    void SSL_CTX_set_read_ahead(SSL_CTX* context, int on)
    void SSL_CTX_set_verify(SSL_CTX* context, int mode, void* callback)
    int SSL_CTX_load_verify_locations(SSL_CTX* context, const char* file, const char* folder)
    int SSL_CTX_use_certificate_chain_file(SSL_CTX* context, const char* file)
    int SSL_CTX_use_PrivateKey_file(SSL_CTX* context, const char* file, int kind)
    int SSL_CTX_check_private_key(const SSL_CTX* context)
    void SSL_CTX_set_default_passwd_cb(SSL_CTX* context, int (*callback)(char*, int, int, void*) noexcept)
    int SSL_CTX_set_alpn_protos(SSL_CTX* context, const unsigned char* names, unsigned int size)
    void SSL_CTX_set_alpn_select_cb(
        SSL_CTX* context,
        int (*callback)(
            SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned int, void*
        ) noexcept,
        void* argument,
    )
    int SSL_select_next_proto(
        unsigned char** chosen, unsigned char* size, const unsigned char* ours, unsigned int ours_size,
        const unsigned char* theirs, unsigned int theirs_size,
    )
    int SSL_CTX_set_session_id_context(SSL_CTX* context, const unsigned char* id, unsigned int size)
    long SSL_CTX_set_session_cache_mode(SSL_CTX* context, long mode)
    void SSL_CTX_sess_set_new_cb(SSL_CTX* context, int (*callback)(SSL*, SSL_SESSION*) noexcept)
    int SSL_CTX_set_tlsext_ticket_key_evp_cb(
        SSL_CTX* context,
        int (*callback)(
            SSL*, unsigned char*, unsigned char*, EVP_CIPHER_CTX*, EVP_MAC_CTX*, int
        ) noexcept,
    )

    int SSL_CTX_set_tlsext_servername_callback(SSL_CTX* context, int (*callback)(SSL*, int*, void*) noexcept)
    int SSL_CTX_set_tlsext_servername_arg(SSL_CTX* context, void* argument)
    const char* SSL_get_servername(const SSL* ssl, int kind)
    SSL_CTX* SSL_set_SSL_CTX(SSL* ssl, SSL_CTX* context)
    X509* SSL_CTX_get0_certificate(const SSL_CTX* context)

    int SSL_CTX_set_app_data(SSL_CTX* context, void* data)
    void* SSL_CTX_get_app_data(const SSL_CTX* context)
    SSL_CTX* SSL_get_SSL_CTX(const SSL* ssl)

    SSL* SSL_new(SSL_CTX* context)
    void SSL_free(SSL* ssl)
    int SSL_set_fd(SSL* ssl, int fd)
    BIO* SSL_get_wbio(const SSL* ssl)
    uint64_t BIO_number_written(BIO* bio)
    void SSL_set_connect_state(SSL* ssl)
    void SSL_set_accept_state(SSL* ssl)
    int SSL_do_handshake(SSL* ssl)
    int SSL_read(SSL* ssl, void* buffer, int size)
    int SSL_write(SSL* ssl, const void* buffer, int size)
    int SSL_shutdown(SSL* ssl)
    int SSL_get_error(const SSL* ssl, int result)
    int SSL_pending(const SSL* ssl)
    int SSL_has_pending(const SSL* ssl)
    int SSL_set_tlsext_host_name(SSL* ssl, const char* name)
    X509_VERIFY_PARAM* SSL_get0_param(SSL* ssl)
    long SSL_get_verify_result(const SSL* ssl)
    void SSL_get0_alpn_selected(const SSL* ssl, const unsigned char** name, unsigned int* size)
    X509* SSL_get0_peer_certificate(const SSL* ssl)
    int SSL_set_session(SSL* ssl, SSL_SESSION* session)
    int SSL_session_reused(const SSL* ssl)
    int SSL_version(const SSL* ssl)
    SSL_SESSION* SSL_get1_session(SSL* ssl)
    void SSL_SESSION_free(SSL_SESSION* session)
    int SSL_set_app_data(SSL* ssl, void* data)
    void* SSL_get_app_data(const SSL* ssl)
    const char* SSL_get_version(const SSL* ssl)

cdef extern from "<openssl/x509v3.h>":
    ctypedef struct GENERAL_NAMES:
        pass
    ctypedef struct ASN1_STRING:
        pass

    union general_name_value:
        ASN1_STRING* ia5
        ASN1_STRING* ip
    ctypedef struct GENERAL_NAME:
        int type
        general_name_value d

    enum:
        GEN_EMAIL
        GEN_DNS
        GEN_URI
        GEN_IPADD
        NID_subject_alt_name

    void* X509_get_ext_d2i(const X509* certificate, int nid, int* critical, int* index)
    void GENERAL_NAMES_free(GENERAL_NAMES* names)
    int sk_GENERAL_NAME_num(const GENERAL_NAMES* names)
    GENERAL_NAME* sk_GENERAL_NAME_value(const GENERAL_NAMES* names, int index)
    const unsigned char* ASN1_STRING_get0_data(const ASN1_STRING* text)
    int ASN1_STRING_length(const ASN1_STRING* text)
    int X509_VERIFY_PARAM_set1_host(X509_VERIFY_PARAM* param, const char* name, size_t size)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM* param, const char* address)
    void X509_VERIFY_PARAM_set_hostflags(X509_VERIFY_PARAM* param, unsigned int flags)
    const char* X509_verify_cert_error_string(long result)

cdef extern from "<openssl/err.h>":
    unsigned long ERR_peek_error()
    unsigned long ERR_peek_last_error()
    void ERR_clear_error()
    int ERR_GET_REASON(unsigned long error)
    const char* ERR_reason_error_string(unsigned long error)

cdef extern from "<openssl/evp.h>":
    ctypedef struct EVP_CIPHER_CTX:
        pass
    ctypedef struct EVP_CIPHER:
        pass
    ctypedef struct EVP_MAC_CTX:
        pass
    ctypedef struct OSSL_PARAM:
        pass

    const EVP_CIPHER* EVP_aes_256_cbc()
    int EVP_CIPHER_get_iv_length(const EVP_CIPHER* cipher)
    int EVP_EncryptInit_ex(
        EVP_CIPHER_CTX* context, const EVP_CIPHER* cipher, void* engine, const unsigned char* key, const unsigned char* iv
    )
    int EVP_DecryptInit_ex(
        EVP_CIPHER_CTX* context, const EVP_CIPHER* cipher, void* engine, const unsigned char* key, const unsigned char* iv
    )
    int EVP_MAC_CTX_set_params(EVP_MAC_CTX* context, const OSSL_PARAM* params)
    OSSL_PARAM OSSL_PARAM_construct_octet_string(const char* key, void* data, size_t size)
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char* key, char* text, size_t size)
    OSSL_PARAM OSSL_PARAM_construct_end()

cdef extern from "<openssl/rand.h>":
    int RAND_bytes(unsigned char* buffer, int size)
