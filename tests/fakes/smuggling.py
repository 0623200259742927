"""Requests by which one side of a proxy could be made to see other requests than the other side.

Each is a whole message with a second request behind it. Whoever reads the first one otherwise
than we do would take the second for a request of its own; so each must be refused, once, and
the connection closed.
"""

from __future__ import annotations

HIDDEN = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nhidden"
"""The second request. Nobody may ever begin it."""


def _post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"\r\n".join((b"POST /echo HTTP/" + version, b"Host: localhost", *lines))
    return head + b"\r\n\r\n" + body


def _chunked(body: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", body=body)


CHUNKED = b"Transfer-Encoding: chunked"

SMUGGLING: dict[str, tuple[bytes, int]] = {
    # Two lengths, or a length and chunks.
    "CL.TE": (_post(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"), 400),
    "TE.CL": (_post(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"), 400),
    "CL.TE with identity": (_post(b"Content-Length: 1", b"Transfer-Encoding: identity", body=b"a"), 400),
    "TE twice": (_post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), 400),
    "TE twice, the second unknown": (_post(CHUNKED, b"Transfer-Encoding: x", body=b"0\r\n\r\n"), 400),
    "CL twice, equal": (_post(b"Content-Length: 1", b"Content-Length: 1", body=b"a"), 400),
    "CL twice, different": (_post(b"Content-Length: 1", b"Content-Length: 9", body=b"a"), 400),
    "CL in a list": (_post(b"Content-Length: 1, 1", body=b"a"), 400),
    # Lengths that are read in more than one way.
    "CL with a plus": (_post(b"Content-Length: +1", body=b"a"), 400),
    "CL with a minus": (_post(b"Content-Length: -1", body=b"a"), 400),
    "CL in hexadecimal": (_post(b"Content-Length: 0x1", body=b"a"), 400),
    "CL with an exponent": (_post(b"Content-Length: 1e0", body=b"a"), 400),
    "CL with a fraction": (_post(b"Content-Length: 1.0", body=b"a"), 400),
    "CL with a space inside": (_post(b"Content-Length: 1 1", body=b"a"), 400),
    "CL with an underscore": (_post(b"Content-Length: 1_0", body=b"a"), 400),
    "CL in quotes": (_post(b'Content-Length: "1"', body=b"a"), 400),
    "CL empty": (_post(b"Content-Length: ", body=b""), 400),
    "CL beyond 64 bits": (_post(b"Content-Length: 18446744073709551617", body=b"a"), 400),
    "CL in other digits": (_post("Content-Length: \u0661".encode(), body=b"a"), 400),
    # Codings that only one side knows.
    "TE not chunked": (_post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 501),
    "TE chunked, then another": (_post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"), 400),
    "TE another, then chunked": (_post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    "TE with a tab behind the name": (_post(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"), 400),
    "TE with a vertical tab": (_post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), 400),
    "TE in quotes": (_post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), 501),
    "TE with a parameter": (_post(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), 501),
    "TE empty": (_post(b"Transfer-Encoding: ", body=b"0\r\n\r\n"), 400),
    "TE in HTTP/1.0": (_post(CHUNKED, body=b"0\r\n\r\n", version=b"1.0"), 400),
    # Lines that end, or go on, otherwise.
    "obs-fold": (_post(b"X-A: b", b" Content-Length: 1", body=b"a"), 400),
    "obs-fold of TE": (_post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"), 400),
    "obs-fold before the first header": (b"POST /echo HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
    "bare LF after the request line": (b"POST /echo HTTP/1.1\nHost: localhost\r\n\r\n", 400),
    "bare LF after a header": (b"POST /echo HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400),
    "bare LF at the head's end": (b"POST /echo HTTP/1.1\r\nHost: localhost\r\n\n", 400),
    "bare CR in a header": (_post(b"X-A: b\rContent-Length: 1", body=b"a"), 400),
    "bare CR after the request line": (b"POST /echo HTTP/1.1\rHost: localhost\r\n\r\n", 400),
    "NUL in a value": (_post(b"X-A: \x00", body=b""), 400),
    "NUL in a name": (_post(b"X\x00A: b", body=b""), 400),
    "space before the colon": (_post(b"Content-Length : 1", body=b"a"), 400),
    "no colon": (_post(b"Content-Length 1", body=b"a"), 400),
    "no name": (_post(b": 1", body=b""), 400),
    # Chunks.
    "chunk size with a sign": (_chunked(b"+1\r\na\r\n0\r\n\r\n"), 400),
    "chunk size negative": (_chunked(b"-1\r\na\r\n0\r\n\r\n"), 400),
    "chunk size with 0x": (_chunked(b"0x1\r\na\r\n0\r\n\r\n"), 400),
    "chunk size empty": (_chunked(b"\r\na\r\n0\r\n\r\n"), 400),
    "chunk size no number": (_chunked(b"zz\r\na\r\n0\r\n\r\n"), 400),
    "chunk size beyond 64 bits": (_chunked(b"10000000000000001\r\na\r\n0\r\n\r\n"), 400),
    "chunk size behind a space": (_chunked(b" 1\r\na\r\n0\r\n\r\n"), 400),
    "chunk size before a space": (_chunked(b"1 \r\na\r\n0\r\n\r\n"), 400),
    "chunk size with an underscore": (_chunked(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"), 400),
    "chunk size line with bare LF": (_chunked(b"1\na\r\n0\r\n\r\n"), 400),
    "chunk size line with bare CR": (_chunked(b"1\ra\r\n0\r\n\r\n"), 400),
    "chunk extension with bare LF": (_chunked(b"1;x\na\r\n0\r\n\r\n"), 400),
    "chunk data with bare LF behind": (_chunked(b"1\r\na\n0\r\n\r\n"), 400),
    "chunk longer than it says": (_chunked(b"1\r\nab\r\n0\r\n\r\n"), 400),
    "last chunk with bare LF": (_chunked(b"1\r\na\r\n0\n\n"), 400),
    "trailer with bare LF": (_chunked(b"1\r\na\r\n0\r\nX: y\n\r\n"), 400),
    # Who is asked, and in what version.
    "two Hosts": (_post(b"Host: localhost"), 400),
    "two Hosts, different": (_post(b"Host: evil.example"), 400),
    "no Host": (b"POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400),
    "Host in a list": (b"POST /echo HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n", 400),
    "Host with a path": (b"POST /echo HTTP/1.1\r\nHost: localhost/x\r\n\r\n", 400),
    "absolute target": (b"POST http://localhost/echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "absolute target, other Host": (b"GET http://a.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "absolute target of https": (b"GET https://localhost/echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "target without a slash": (b"GET echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "target with a fragment": (b"GET /echo#a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "target with a space": (b"GET /e cho HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /echo\r\n\r\n", 505),
    "HTTP/0.9 with a body": (b"POST /echo\r\nContent-Length: 1\r\n\r\na", 505),
    "HTTP/1.2": (b"GET /echo HTTP/1.2\r\nHost: localhost\r\n\r\n", 400),
    "HTTP/2.0": (b"GET /echo HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    "version in small letters": (b"GET /echo http/1.1\r\nHost: localhost\r\n\r\n", 400),
    "method in small letters": (b"post /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "tabs in the request line": (b"GET\t/echo\tHTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
}
"""By name: the request, and the status that refuses it."""
