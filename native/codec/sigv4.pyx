from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from native.codec.field_list cimport FieldView, add_item, field_at, new_list
from native.codec.field_rules cimport field_value

cdef extern from "native/codec/sha256.h" nogil:
    void edge_sha256(const void* data, size_t size, unsigned char* out)

cdef enum:
    HASH_HEX = 64
    STAMP = 16              # 20150830T123600Z
    DATE = 8
    LONGEST_NAME = 64       # of a region and of a service
    LONGEST_TEXT = 512      # of what is signed at last: algorithm, stamp, scope and a hash
    OWN_FIELDS = 512        # bytes that the lines of the signer's own fields take, without their values

cdef bytes ALGORITHM = b"AWS4-HMAC-SHA256"
cdef bytes DATE_NAME = b"x-amz-date"
cdef const char* HEX = b"0123456789ABCDEF"

# AWS's codes of what concerns the keys or their use, and what they mean for the operator.
cdef str CLOCK = "the clock of this machine differs from that of AWS"
cdef dict MEANINGS = {
    b"ExpiredToken": "the AWS keys have expired",
    b"ExpiredTokenException": "the AWS keys have expired",
    b"UnrecognizedClientException": "AWS does not know the access key or its session token",
    b"InvalidClientTokenId": "AWS does not know the access key or its session token",
    b"InvalidSignatureException": "the signature does not match: check the secret key, the region and the service",
    b"SignatureDoesNotMatch": "the signature does not match: check the secret key, the region and the service",
    b"RequestTimeTooSkewed": CLOCK,
    b"RequestExpired": CLOCK,
    b"IncompleteSignatureException": "a signature is incomplete",
    b"MissingAuthenticationTokenException": "AWS found no credential",
    b"AccessDeniedException": "the identity may not do this: check its policy, and its access to the model",
    b"AccessDenied": "the identity may not do this: check its policy, and its access to the model",
}
cdef tuple DENIED = (b"AccessDeniedException", b"AccessDenied")
# What AWS says of a signature from another time, whose code is that of one that does not match.
cdef tuple OTHER_TIME = (b"Signature expired", b"Signature not yet current")
cdef Py_ssize_t LONGEST_CODE = 64


cdef inline bint is_unreserved(unsigned char c) noexcept nogil:
    """RFC 3986 2.3: what AWS leaves as it is."""
    return (
        c"a" <= c <= c"z" or c"A" <= c <= c"Z" or c"0" <= c <= c"9"
        or c == c"-" or c == c"_" or c == c"." or c == c"~"
    )


cdef inline char* put_encoded(char* out, unsigned char c) noexcept nogil:
    if is_unreserved(c):
        out[0] = <char>c
        return out + 1
    out[0] = c"%"
    out[1] = HEX[c >> 4]
    out[2] = HEX[c & 15]
    return out + 3


cdef inline char* put(char* out, const char* from_, Py_ssize_t size) noexcept nogil:
    memcpy(out, from_, size)
    return out + size


cdef inline char* put_bytes(char* out, bytes text) noexcept:
    return put(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef char* put_path(char* out, const char* path, Py_ssize_t size, bint is_s3) noexcept nogil:
    """Write the path as AWS signs it: without empty and dot segments (RFC 3986 5.2.4) and encoded once more. For S3 it
    stays as it is sent."""
    cdef char* start = out
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end, length
    cdef bint slash = size > 0 and path[size - 1] == c"/"
    if is_s3:
        return put(out, path, size)
    while at < size:
        end = at
        while end < size and path[end] != c"/":
            end += 1
        length = end - at
        if length == 2 and path[at] == c"." and path[at + 1] == c".":
            while out > start:
                out -= 1
                if out[0] == c"/":
                    break
        elif length and not (length == 1 and path[at] == c"."):
            out[0] = c"/"
            out += 1
            while at < end:
                out = put_encoded(out, <unsigned char>path[at])
                at += 1
        at = end + 1
    if slash or out == start:
        out[0] = c"/"
        out += 1
    return out


cdef inline int digit_of(char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    return c - c"A" + 10 if c"A" <= c <= c"F" else -1


cdef bytes encoded_once(bytes text):
    """Return a name or a value of a query with exactly what is not unreserved encoded, whatever was encoded before."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef const char* p = PyBytes_AS_STRING(text)
    cdef bytes room = PyBytes_FromStringAndSize(NULL, 3 * size)
    cdef char* start = PyBytes_AS_STRING(room)
    cdef char* out = start
    cdef Py_ssize_t at = 0
    while at < size:
        if p[at] == c"%" and at + 2 < size and digit_of(p[at + 1]) >= 0 and digit_of(p[at + 2]) >= 0:
            out = put_encoded(out, <unsigned char>(digit_of(p[at + 1]) << 4 | digit_of(p[at + 2])))
            at += 3
        else:
            out = put_encoded(out, <unsigned char>p[at])
            at += 1
    return PyBytes_FromStringAndSize(start, out - start)


cdef bytes canonical_query(bytes query):
    """Return a query as AWS signs it: its pairs sorted by name and value, each with an equals sign."""
    cdef list pairs = []
    cdef bytes name, value
    for part in query.split(b"&"):
        if part:
            name, _, value = (<bytes>part).partition(b"=")
            pairs.append((encoded_once(name), encoded_once(value)))
    pairs.sort()
    return b"&".join([<bytes>(<tuple>pair)[0] + b"=" + <bytes>(<tuple>pair)[1] for pair in pairs])


cdef char* put_value(char* out, const char* value, Py_ssize_t size) noexcept nogil:
    """Write a field's value without blanks around it, and with one space for each run of them."""
    cdef char* start = out
    cdef bint blank = False
    cdef Py_ssize_t at
    for at in range(size):
        if value[at] == c" " or value[at] == c"\t":
            blank = True
            continue
        if blank and out > start:
            out[0] = c" "
            out += 1
        blank = False
        out[0] = value[at]
        out += 1
    return out


cdef char* put_hex(char* out, const unsigned char* digest) noexcept nogil:
    cdef int i
    for i in range(32):
        out[2 * i] = HEX[digest[i] >> 4] | 32      # digits have that bit, and it makes letters lower case
        out[2 * i + 1] = HEX[digest[i] & 15] | 32
    return out + HASH_HEX


cdef void write_number(char* out, int size, int64_t value) noexcept nogil:
    while size:
        size -= 1
        out[size] = <char>(c"0" + value % 10)
        value //= 10


cdef void write_stamp(char* out, uint64_t now_s) noexcept nogil:
    """Write a time as 20150830T123600Z. The calendar is that of Howard Hinnant's "chrono-compatible algorithms"."""
    cdef int64_t days = <int64_t>(now_s // 86400)
    cdef int64_t second = <int64_t>(now_s % 86400)
    cdef int64_t shifted = days + 719468
    cdef int64_t era = shifted // 146097
    cdef int64_t of_era = shifted - era * 146097
    cdef int64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef int64_t month = (5 * of_year + 2) // 153       # March = 0
    write_number(out, 4, year + era * 400 + (1 if month > 9 else 0))
    write_number(out + 4, 2, month + 3 if month < 10 else month - 9)
    write_number(out + 6, 2, of_year - (153 * month + 2) // 5 + 1)
    out[8] = c"T"
    write_number(out + 9, 2, second // 3600)
    write_number(out + 11, 2, second // 60 % 60)
    write_number(out + 13, 2, second % 60)
    out[15] = c"Z"


cdef void hmac(const unsigned char* key, size_t key_size, const char* text, size_t size, unsigned char* out) noexcept nogil:
    """Compute HMAC-SHA-256 (RFC 2104) of a text of at most LONGEST_TEXT bytes; ``out`` may be ``key``."""
    cdef unsigned char[64 + LONGEST_TEXT] inner
    cdef unsigned char[64 + 32] outer
    cdef unsigned char[64] block
    cdef int i
    memset(block, 0, 64)
    if key_size > 64:
        edge_sha256(key, key_size, block)
    else:
        memcpy(block, key, key_size)
    for i in range(64):
        inner[i] = block[i] ^ 0x36
        outer[i] = block[i] ^ 0x5C
    memcpy(inner + 64, text, size)
    edge_sha256(inner, 64 + size, outer + 64)
    edge_sha256(outer, 96, out)
    memset(block, 0, 64)
    memset(inner, 0, 64)
    memset(outer, 0, 64)


cdef class Signer:
    """Signs requests with one pair of keys.

    Args:
        region, service: where they are sent, as in "eu-west-1" and "bedrock".
        access, secret: the keys; empty: there are none yet, and nothing can be signed.
        session: the session token of temporary keys.
        expires_s: Unix time of their end; 0: they have none.
        more: names of fields that are signed besides those that must be; lower case.

    Raises:
        ValueError: keys for a region or service that AWS cannot have.
    """

    def __init__(
        self, str region not None, str service not None, str access not None="", str secret not None="",
        str session not None="", int64_t expires_s=0, tuple more not None=(),
    ):
        for name in (region, service):
            if len(name) > <int>LONGEST_NAME or not name.isascii() or (access and not name):
                raise ValueError(f"{name!r} is no region or service of AWS")
        self.region = region
        self.service = service
        self.expires_s = expires_s
        self.access = access.encode()
        self.secret = secret.encode()
        self.session = session.encode()
        self.scope = f"/{region}/{service}/aws4_request".encode()
        self.is_s3 = service == "s3"
        names = {b"content-type", b"host", b"x-amz-date", *more}
        if session:
            names.add(b"x-amz-security-token")
        if self.is_s3:
            names.add(b"x-amz-content-sha256")
        self.names = tuple(sorted(names))
        self.day = -1

    def __repr__(self):
        return f"<Signer {self.region}/{self.service}>"

    cdef str objection(self, uint64_t now_s):
        if not PyBytes_GET_SIZE(self.access):
            return "there are no AWS keys to sign it with"
        if self.expires_s and <int64_t>now_s >= self.expires_s:
            return "the AWS keys that would sign it have expired, and there are no new ones"
        return None

    cdef int derive(self, int64_t day, const char* date) except -1:
        """Compute the key of a day, from which nobody can compute the secret key."""
        cdef bytes first = b"AWS4" + self.secret
        cdef bytes region = self.region.encode()
        cdef bytes service = self.service.encode()
        hmac(<const unsigned char*>PyBytes_AS_STRING(first), PyBytes_GET_SIZE(first), date, DATE, self.key)
        hmac(self.key, 32, PyBytes_AS_STRING(region), PyBytes_GET_SIZE(region), self.key)
        hmac(self.key, 32, PyBytes_AS_STRING(service), PyBytes_GET_SIZE(service), self.key)
        hmac(self.key, 32, b"aws4_request", 12, self.key)
        self.day = day

    cdef list sign(self, bytes method, bytes target, bytes authority, list fields, bytes body, uint64_t now_s):
        cdef char[STAMP] stamp
        cdef char[HASH_HEX] payload
        cdef char[LONGEST_TEXT] text
        cdef unsigned char[32] digest
        cdef FieldView field
        cdef Py_ssize_t at, split
        cdef Py_ssize_t size = PyBytes_GET_SIZE(target)
        cdef Py_ssize_t room
        cdef bytes query = b""
        cdef bytes credential, value, held, listed
        cdef list names = []
        cdef char* canonical
        cdef char* out
        cdef char* named
        cdef list signed = new_list(PyList_GET_SIZE(fields) + 4)
        write_stamp(stamp, now_s)
        if <int64_t>(now_s // 86400) != self.day:
            self.derive(<int64_t>(now_s // 86400), stamp)
        edge_sha256(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), digest)
        put_hex(payload, digest)
        split = target.find(b"?")
        if split >= 0:
            query = canonical_query(target[split + 1:])
            size = split
        room = OWN_FIELDS + PyBytes_GET_SIZE(method) + 3 * size + PyBytes_GET_SIZE(query) + PyBytes_GET_SIZE(authority)
        room += PyBytes_GET_SIZE(self.session)
        for at in range(PyList_GET_SIZE(fields)):
            if not field_at(fields, at, &field):
                raise TypeError("a field is a pair of bytes")
            room += 2 * (field.name_size + field.value_size + 4)
            if not is_claim(field.name, field.name_size) and not is_doubtful(&field):
                add_item(signed, <object>fields[at])
        add_item(signed, (DATE_NAME, PyBytes_FromStringAndSize(stamp, STAMP)))
        if PyBytes_GET_SIZE(self.session):
            add_item(signed, (b"x-amz-security-token", self.session))
        if self.is_s3:
            add_item(signed, (b"x-amz-content-sha256", PyBytes_FromStringAndSize(payload, HASH_HEX)))
        held = PyBytes_FromStringAndSize(NULL, room)
        canonical = PyBytes_AS_STRING(held)
        out = put_bytes(canonical, method)
        out[0] = c"\n"
        out = put_path(out + 1, PyBytes_AS_STRING(target), size, self.is_s3)
        out[0] = c"\n"
        out = put_bytes(out + 1, query)
        out[0] = c"\n"
        out += 1
        for name in self.names:
            named = put_line(out, <bytes>name, authority, signed)
            if named != out:
                out = named
                names.append(name)
        out[0] = c"\n"
        listed = b";".join(names)
        out = put_bytes(out + 1, listed)
        out[0] = c"\n"
        out = put(out + 1, payload, HASH_HEX)
        edge_sha256(canonical, out - canonical, digest)
        memset(canonical, 0, out - canonical)       # it has the session token
        out = put_bytes(text, ALGORITHM)
        out[0] = c"\n"
        out = put(out + 1, stamp, STAMP)
        out[0] = c"\n"
        out = put_bytes(put(out + 1, stamp, DATE), self.scope)
        out[0] = c"\n"
        out = put_hex(out + 1, digest)
        hmac(self.key, 32, text, out - text, digest)
        put_hex(text, digest)
        credential = self.access + b"/" + PyBytes_FromStringAndSize(stamp, DATE) + self.scope
        value = b"AWS4-HMAC-SHA256 Credential=" + credential + b", SignedHeaders=" + listed + b", Signature="
        add_item(signed, (b"authorization", value + PyBytes_FromStringAndSize(text, HASH_HEX)))
        return signed

    def why_not(self, uint64_t now_s):
        """Return why nothing can be signed at a Unix time, in a sentence; None: it can."""
        return self.objection(now_s)

    def signed(
        self, bytes method not None, bytes target not None, bytes authority not None, list fields not None,
        bytes body not None, uint64_t now_s,
    ):
        """Return the fields of a request with those that sign it.

        Args:
            method: HTTP method.
            target: path and query as they are sent.
            authority: the Host field, or :authority.
            fields: (name, value) pairs with lower-case names, of the request so far.
            body: the whole body.
            now_s: Unix time.
        """
        return self.sign(method, target, authority, fields, body, now_s)


cdef bint is_claim(const char* name, Py_ssize_t size) noexcept nogil:
    """Whether a field of a request says what the signature alone may say."""
    return (size >= 6 and memcmp(name, b"x-amz-", 6) == 0) or (size == 13 and memcmp(name, b"authorization", 13) == 0)


cdef bint is_doubtful(const FieldView* field) noexcept nogil:
    """Whether a signed field that callers write has bytes that AWS does not say how it reads: its signature could fail,
    which would be taken for a fault of the keys."""
    cdef Py_ssize_t at
    if field.name_size != 12 or memcmp(field.name, b"content-type", 12) != 0:
        return False
    for at in range(field.value_size):
        if <unsigned char>field.value[at] >= 0x80:
            return True
    return False


cdef char* put_line(char* out, bytes name, bytes authority, list fields):
    """Write the line of a signed field, with all of its values; return ``out`` if the request has none."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    cdef char* start = out
    cdef FieldView field
    cdef Py_ssize_t at
    if size == 4 and memcmp(PyBytes_AS_STRING(name), b"host", 4) == 0:
        out = put(out, b"host:", 5)
        out = put_bytes(out, authority)
        out[0] = c"\n"
        return out + 1
    for at in range(PyList_GET_SIZE(fields)):
        if field_at(fields, at, &field) and field.name_size == size and memcmp(field.name, PyBytes_AS_STRING(name), size) == 0:
            if out == start:
                out = put_bytes(out, name)
                out[0] = c":"
            else:
                out[0] = c","
            out = put_value(out + 1, field.value, field.value_size)
    if out != start:
        out[0] = c"\n"
        out += 1
    return out


cdef bytes code_of(list fields):
    """Return AWS's code of an error, such as ThrottlingException; None = the answer has none that can be repeated."""
    cdef bytes code = field_value(fields, b"x-amzn-errortype")
    if code is None:
        return None
    code = code.partition(b":")[0].rpartition(b"#")[2].strip()
    return code if code.isalnum() and PyBytes_GET_SIZE(code) <= LONGEST_CODE else None


cdef str error_of(list fields, bytes content):
    cdef bytes code = code_of(fields)
    cdef str meaning
    if code is None:
        return None
    meaning = <str>MEANINGS.get(code)
    for words in OTHER_TIME:
        if words in content:
            meaning = CLOCK
    return code.decode() if meaning is None else f"{code.decode()}: {meaning}"


cdef int key_fault(list fields):
    cdef bytes code = code_of(fields)
    if code is None or code not in MEANINGS:
        return NO_KEY_FAULT
    return NOT_PERMITTED if code in DENIED else KEYS_REFUSED


def read_error(list fields not None, bytes content not None):
    """Return AWS's code of an error, and what it means for the keys; None: the answer has none.

    Args:
        fields: of the answer, with lower-case names.
        content: its body.
    """
    return error_of(fields, content)
