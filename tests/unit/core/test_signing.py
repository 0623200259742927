from __future__ import annotations

import base64
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from collector.core.signing import (
    COVERED,
    content_digest,
    covered,
    load_ed25519,
    load_hmac,
    sign,
    traintracks_auth,
)

# RFC 9421, appendix B.2: the request that the appendix signs.
RFC_HEADERS = {
    "Host": "example.com",
    "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "Content-Type": "application/json",
    "Content-Digest": (
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
    ),
    "Content-Length": "18",
}
RFC_URL = "https://example.com/foo?param=Value&Pet=dog"
RFC_CREATED = 1618884473

# Appendix B.1.5 and B.1.4.
RFC_SHARED_SECRET = base64.b64decode(
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)
RFC_ED25519 = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----
"""


def rfc_signature(key, components):
    return sign(
        method="POST",
        url=RFC_URL,
        headers=RFC_HEADERS,
        components=components,
        key=key,
        created=RFC_CREATED,
        include_alg=False,
    )


def test_hmac_signature_is_that_of_rfc_9421_b_2_5():
    key = load_hmac(RFC_SHARED_SECRET, "test-shared-secret")
    assert rfc_signature(key, ("date", "@authority", "content-type")) == {
        "Signature-Input": (
            'waystation=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
        ),
        "Signature": "waystation=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
    }


def test_ed25519_signature_is_that_of_rfc_9421_b_2_6():
    key = load_ed25519(RFC_ED25519, "test-key-ed25519")
    components = ("date", "@method", "@path", "@authority", "content-type", "content-length")
    assert rfc_signature(key, components) == {
        "Signature-Input": (
            'waystation=("date" "@method" "@path" "@authority" "content-type" "content-length")'
            ';created=1618884473;keyid="test-key-ed25519"'
        ),
        "Signature": (
            "waystation=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
        ),
    }


def test_parameters_name_time_key_and_algorithm():
    signed = sign(
        method="POST",
        url="https://ingest.example.com/v1/events",
        headers={"Content-Type": "application/json"},
        components=("@method", "content-type"),
        key=load_hmac(b"secret", "kiosk-17"),
        created=1700000000,
    )
    assert signed["Signature-Input"].endswith(';created=1700000000;keyid="kiosk-17";alg="hmac-sha256"')


def test_signing_leaves_the_given_headers_alone():
    headers = {"Content-Type": "application/json"}
    key = load_hmac(b"secret", "kiosk-17")
    sign(
        method="POST",
        url="http://localhost/",
        headers=headers,
        components=("content-type",),
        key=key,
        created=1,
    )
    assert headers == {"Content-Type": "application/json"}


def test_a_component_that_is_not_there_cannot_be_signed():
    with pytest.raises(ValueError, match="content-digest"):
        sign(
            method="POST",
            url="http://localhost/",
            headers={},
            components=("content-digest",),
            key=load_hmac(b"secret", "kiosk-17"),
            created=1,
        )


def test_covered_leaves_out_only_what_some_requests_do_not_have():
    plain = covered(["Content-Type"])
    assert set(COVERED) - set(plain) == {"content-encoding", "waystation-replaces", "waystation-labels"}
    assert covered(["Content-Encoding", "WAYSTATION-REPLACES", "Waystation-Labels"]) == COVERED


def test_content_digest_is_that_of_rfc_9530():
    # RFC 9530, appendix B.1, for the content `{"hello": "world"}` and a line feed.
    assert content_digest(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


def md5_of_the_system(data):
    """What a program that is not Python's says: GNU's, macOS's or OpenSSL's."""
    for command in (["md5sum"], ["md5", "-q"], ["openssl", "md5", "-r"]):
        if shutil.which(command[0]) is not None:
            return (
                subprocess.run(command, input=data, capture_output=True, check=True)
                .stdout.split()[0]
                .decode()
            )
    pytest.skip("this system has neither md5sum nor md5 nor openssl")


@pytest.mark.parametrize(
    ("body", "secret"),
    [(b"[]", "s3cret"), ('[{"name":"Zoë 🚲"}]'.encode(), "gehe\u0131m"), (bytes(range(256)), ""), (b"", "x")],
)
def test_traintracks_auth_agrees_with_the_systems_md5(body, secret):
    assert traintracks_auth(body, secret) == md5_of_the_system(body + secret.encode())
    assert traintracks_auth(body, secret.encode()) == traintracks_auth(body, secret)


def test_a_key_never_shows_in_its_repr():
    assert "hush" not in repr(load_hmac(b"hush", "kiosk-17"))
    assert "Ed25519PrivateKey" not in repr(load_ed25519(RFC_ED25519, "kiosk-17"))


def pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "PEM"),
        (b"not a key at all", "PEM"),
        (RFC_ED25519[:-60], "PEM"),
        (pem(generate_private_key(SECP256R1())), "another kind"),
        (pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"pw")), "encrypted"),
    ],
)
def test_a_key_file_that_is_no_ed25519_key_says_why(content, told):
    with pytest.raises(ValueError, match=told) as caught:
        load_ed25519(content, "kiosk-17")
    assert caught.value.__cause__ is None
    assert not content or content.decode() not in str(caught.value)


@pytest.mark.parametrize("key_id", ["", "kiösk", "a\nb"])
def test_a_key_id_that_no_header_can_carry_is_refused(key_id):
    with pytest.raises(ValueError, match="id"):
        load_hmac(b"secret", key_id)


def test_an_empty_shared_secret_is_refused():
    with pytest.raises(ValueError, match="empty"):
        load_hmac(b"", "kiosk-17")
