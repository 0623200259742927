"""What the configuration says of the way to an upstream, and what is wrong with it."""

from __future__ import annotations

import pytest

SAMSARA = '[[upstream]]\nname = "s"\nkind = "samsara"\nsigning = "none"\nurl = "https://x.example/"\n'
SIGNED = (
    '[[upstream]]\nname = "s"\nkind = "samsara"\nsigning = "rfc9421"\nurl = "https://x.example/"\n'
    'key_id = "k"\nsecret_env = "S"\n'
)
PEM = b"-----BEGIN CERTIFICATE-----\n"
PIN = f"sha256//{'A' * 43}="


@pytest.mark.parametrize("proxy", ["none", "http://proxy:3128", "https://user:pass@proxy.example"])
def test_a_proxy_is_an_http_url_or_none(site, proxy):
    assert site.load(f'{SAMSARA}proxy = "{proxy}"\n').upstream[0].proxy == proxy


@pytest.mark.parametrize(
    "proxy",
    ["", "proxy:3128", "socks5://proxy:1080", "http://", "http://proxy:0", "http://p/x", "http://p:x"],
)
def test_another_proxy_is_refused(site, proxy):
    assert site.problem(f'{SAMSARA}proxy = "{proxy}"\n').key == "upstream[0].proxy"


def test_a_proxys_password_is_in_no_error(site):
    assert "hunter2" not in str(site.problem(f'{SAMSARA}proxy = "ftp://u:hunter2@proxy"\n'))


@pytest.mark.parametrize("pin", ["", "sha256//", PIN[:-1], PIN.replace("sha256", "sha512"), f"{PIN};{PIN}"])
def test_a_pin_is_as_curl_has_it(site, pin):
    assert site.load(f'{SAMSARA}pinned_keys = ["{PIN}"]\n').upstream[0].pinned_keys == (PIN,)
    assert site.problem(f'{SAMSARA}pinned_keys = ["{pin}"]\n').key == "upstream[0].pinned_keys[0]"


@pytest.mark.parametrize("key", ["ca_file", "pinned_keys"])
def test_what_is_for_tls_needs_https(site, key):
    site.secret("ca.pem", PEM)
    value = '"ca.pem"' if key == "ca_file" else f'["{PIN}"]'
    text = SAMSARA.replace("https://x.example/", "http://localhost/") + f"{key} = {value}\n"
    assert site.problem(text).key == f"upstream[0].{key}"


def test_a_client_certificate_comes_with_its_key(site):
    site.secret("own.pem", PEM)
    site.secret("own.key", b"key")
    both = 'client_cert_file = "own.pem"\nclient_key_file = "own.key"\n'
    assert site.load(SAMSARA + both).upstream[0].client_key.name.endswith("own.key")
    for line in both.splitlines(keepends=True):
        assert "client_cert_file and its client_key_file" in site.problem(SAMSARA + line).expected
    twice = f'{SAMSARA}{both}client_key_credential = "own"\n'
    assert site.problem(twice).key == "upstream[0].client_key_credential"


def test_a_client_key_that_others_may_read_is_refused(site):
    site.secret("own.pem", PEM)
    site.secret("own.key", b"key", mode=0o644)
    text = f'{SAMSARA}client_cert_file = "own.pem"\nclient_key_file = "own.key"\n'
    assert "open to others" in site.problem(text).found


def test_a_next_key_need_not_be_there_yet(site):
    upstream = site.load(f'{SIGNED}next = {{ key_id = "n", key_file = "next.pem" }}\n', S="s").upstream[0]
    assert upstream.next.key_id == "n"
    assert upstream.next.key.name.endswith("next.pem")
    assert upstream.next.secret is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (SIGNED + 'next = { key_id = "n" }\n', "upstream[0].next"),
        (SIGNED + 'next = { key_file = "a", secret_file = "b" }\n', "upstream[0].next.secret_file"),
        (SIGNED + 'next = { key_file = "a", key_env = "B" }\n', "upstream[0].next.key_env"),
        (SAMSARA + 'next = { key_file = "a" }\n', "upstream[0].next.key_file"),
    ],
)
def test_a_next_key_is_one_key_for_what_is_signed(site, text, key):
    assert site.problem(text, S="s").key == key


def test_a_variable_that_holds_a_next_secret_may_have_any_name(site):
    product = (
        '[[product]]\nkey = "p"\nsecret_env = "S"\nnext_secret_env = "WAYSTATION_P_NEXT"\n'
        '[[upstream]]\nname = "t"\nkind = "traintracks"\nurl = "https://t.example/"\n'
    )
    text = product + SIGNED + 'next = { secret_env = "WAYSTATION_S_NEXT" }\n'
    config = site.load(text, S="s", WAYSTATION_P_NEXT="1", WAYSTATION_S_NEXT="2")
    assert config.product[0].next_secret.name == "WAYSTATION_P_NEXT"


def test_a_product_has_one_next_secret(site):
    text = '[[product]]\nkey = "p"\nsecret_env = "S"\nnext_secret_env = "A"\nnext_secret_file = "b"\n'
    text += '[[upstream]]\nname = "t"\nkind = "traintracks"\nurl = "https://t.example/"\n'
    assert site.problem(text, S="s").key == "product[0].next_secret_env"


def test_a_rate_limit_has_a_least(site):
    assert site.load(f'{SAMSARA}rate_limit = "100KiB"\n').upstream[0].rate_limit == 102_400
    assert site.problem(f'{SAMSARA}rate_limit = "10B"\n').key == "upstream[0].rate_limit"
