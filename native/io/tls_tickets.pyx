"""Seals and opens session tickets (RFC 5077) with keys that change every hour.

A ticket of the hour before is still opened, and replaced by one of the present hour. Every worker of a node derives the
same keys, so a client can resume its session at any worker.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy
from native.io.clock cimport wall_ns
from native.io.openssl cimport (
    EVP_CIPHER_CTX, EVP_CIPHER_get_iv_length, EVP_DecryptInit_ex, EVP_EncryptInit_ex, EVP_MAC_CTX, EVP_MAC_CTX_set_params,
    EVP_aes_256_cbc, OSSL_PARAM, OSSL_PARAM_construct_end, OSSL_PARAM_construct_octet_string,
    OSSL_PARAM_construct_utf8_string, RAND_bytes, SSL, SSL_CTX, SSL_CTX_get_app_data, SSL_CTX_set_app_data,
    SSL_CTX_set_tlsext_ticket_key_evp_cb, SSL_get_SSL_CTX,
)

from hashlib import sha256
from hmac import digest

cdef enum:
    HOUR_S = 3600
    NAME = 16


cdef class TicketKeys:
    """Keys of session tickets, 80 bytes an hour.

    Args:
        secret: 32 random bytes of the node.
    """
    def __init__(self, bytes secret not None):
        if len(secret) < 32:
            raise ValueError(f"the secret of session tickets has {len(secret)} bytes; it needs 32")
        self.secret = secret
        self.derived = {}

    cdef tuple keys_of(self, long hour):
        keys = self.derived.get(hour)
        if keys is None:
            material = b"".join(
                [digest(self.secret, b"edge session ticket %d %d" % (hour, part), sha256) for part in range(3)]
            )
            keys = (material[:NAME], material[32:64], material[64:96])
            for former in [one for one in self.derived if one < hour - 2]:
                del self.derived[former]
            self.derived[hour] = keys
        return keys


cdef int set_up(tuple keys, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, unsigned char* iv, bint sealing):
    cdef OSSL_PARAM[3] params
    cdef bytes mac_key = keys[1]
    cdef bytes cipher_key = keys[2]
    cdef const unsigned char* key = <const unsigned char*>PyBytes_AS_STRING(cipher_key)
    params[0] = OSSL_PARAM_construct_octet_string(b"key", PyBytes_AS_STRING(mac_key), 32)
    params[1] = OSSL_PARAM_construct_utf8_string(b"digest", b"sha256", 0)
    params[2] = OSSL_PARAM_construct_end()
    if EVP_MAC_CTX_set_params(mac, params) != 1:
        return 0
    if sealing:
        return EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key, iv)
    return EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key, iv)


cdef int on_ticket(
    SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int sealing
) noexcept:
    """Answer OpenSSL: 1 = the keys are set, 2 = and the ticket is to be replaced, 0 = no key fits, -1 = failed."""
    cdef TicketKeys held = <TicketKeys>SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl))
    cdef long hour = (<long>(wall_ns() // 1_000_000_000) + held.ahead_s) // <int>HOUR_S
    cdef tuple keys = held.keys_of(hour)
    cdef bytes wanted
    if sealing:
        memcpy(name, PyBytes_AS_STRING(<bytes>keys[0]), NAME)
        if RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1:
            return -1
        return 1 if set_up(keys, cipher, mac, iv, True) == 1 else -1
    wanted = (<char*>name)[:NAME]
    for age in range(2):
        keys = held.keys_of(hour - age)
        if keys[0] == wanted:
            if set_up(keys, cipher, mac, iv, False) != 1:
                return -1
            return 2 if age else 1
    return 0


cdef int use_ticket_keys(SSL_CTX* context, TicketKeys keys) except -1:
    SSL_CTX_set_app_data(context, <void*>keys)
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket)
