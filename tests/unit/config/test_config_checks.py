from __future__ import annotations

import grp
import os

import pytest

from collector.config.model import Upstream
from collector.config.upstream_checks import KEYS

LISTENER = '[[listener]]\nbind = "{}"\n'
SAMSARA = '[[upstream]]\nname = "s"\nkind = "samsara"\n'
URL = 'url = "https://x.example/"\n'
NONE = 'signing = "none"\n'
TRAINTRACKS = '[[upstream]]\nname = "t"\nkind = "traintracks"\nurl = "https://t.example/"\n'
FILE = '[[upstream]]\nname = "f"\nkind = "file"\n'
PRODUCT = '[[product]]\nkey = "p"\nsecret_env = "P"\n'


@pytest.mark.parametrize(
    "bind",
    ["localhost:0", "localhost:65535", "127.0.0.1:9000", "127.1.2.3:9000", "[::1]:9000", "unix:/run/x.sock"],
)
def test_what_stays_on_this_machine_may_be_bound(site, bind):
    site.load(LISTENER.format(bind))


@pytest.mark.parametrize(
    "bind",
    [
        "",
        "9000",
        "localhost",
        "localhost:",
        "localhost:65536",
        "localhost:٩",
        "example.com:80",
        "::1:9000",
        "[127.0.0.1]:9000",
        "unix:relative.sock",
        "unix:/",
        "unix:/dir/",
        "http://localhost:9000",
    ],
)
def test_a_bind_that_says_nothing_clear_is_refused(site, bind):
    problem = site.problem(LISTENER.format(bind))
    assert problem.key == "listener[0].bind"
    assert "localhost:PORT" in problem.expected


@pytest.mark.parametrize(
    "bind", ["unix:/tmp/\\u0000x", "unix:/tmp/a\\nb", "unix:/tmp/\\u001b[2J", "unix:/tmp/\\u202e", "\\u0000"]
)
def test_a_bind_with_characters_that_cannot_be_seen_is_refused(site, bind):
    for text in (LISTENER.format(bind), f'[admin]\nbind = ["{bind}"]\n'):
        problem = site.problem(text)
        assert "printable" in problem.expected
        assert str(problem).isprintable() or "\u202e" in str(problem)


@pytest.mark.parametrize("bind", ["0.0.0.0:9000", "[::]:9000", "192.168.1.5:9000"])
def test_other_machines_are_let_in_only_when_the_configuration_says_so(site, bind):
    assert "allow_remote" in site.problem(LISTENER.format(bind)).expected
    site.load(LISTENER.format(bind) + "allow_remote = true\n")


def test_other_machines_are_never_let_in_to_the_admin_listener(site):
    problem = site.problem('[admin]\nbind = ["127.0.0.1:1", "0.0.0.0:9010"]\n')
    assert (problem.key, problem.expected) == ("admin.bind[1]", "a loopback address")


def test_a_socket_path_must_fit_the_kernels_structure(site):
    site.load(LISTENER.format("unix:/" + "x" * 106))
    assert "107" in site.problem(LISTENER.format("unix:/" + "x" * 107)).expected
    assert "107" in site.problem(LISTENER.format("unix:/" + "ö" * 54)).expected


@pytest.mark.parametrize(
    ("first", "second"),
    [("localhost:9000", "127.0.0.1:9000"), ("[::1]:9000", "localhost:9000"), ("unix:/a", "unix:/a")],
)
def test_an_address_is_taken_once(site, first, second):
    problem = site.problem(LISTENER.format(first) + LISTENER.format(second))
    assert (problem.line, problem.key) == (4, "listener[1].bind")
    assert "listener[0]" in problem.expected
    problem = site.problem(LISTENER.format(first) + f'[admin]\nbind = ["{second}"]\n')
    assert problem.key == "admin.bind[0]"


def test_ports_that_the_system_chooses_do_not_collide(site):
    site.load(LISTENER.format("localhost:0") * 2)


def test_there_is_a_listener_and_an_upstream(site):
    assert [problem.key for problem in site.problems("listener = []\nupstream = []")] == [
        "listener",
        "upstream",
    ]


def test_socket_keys_are_for_sockets(site):
    keys = 'mode = "0600"\ngroup = "root"\n'
    problems = site.problems(LISTENER.format("localhost:9000") + keys)
    assert [problem.key for problem in problems] == ["listener[0].mode", "listener[0].group"]
    group = grp.getgrgid(os.getgid()).gr_name
    site.load(LISTENER.format("unix:/a") + f'mode = "0600"\ngroup = "{group}"\n')


def test_a_group_must_exist(site):
    problem = site.problem(LISTENER.format("unix:/a") + 'group = "no-such-group-here"\n')
    assert (problem.line, problem.key) == (3, "listener[0].group")


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "https://shop.example", "null", "chrome-extension://abcdef", "http://[::1]:80"],
)
def test_origins_are_taken_as_browsers_send_them(site, origin):
    site.load(LISTENER.format("localhost:1") + f'allowed_origins = ["{origin}"]\n')


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "",
        "localhost:3000",
        "http://a/",
        "http://a/b",
        "http://A.example",
        "http://u@a",
        "http://a:b",
        "http://",
    ],
)
def test_what_no_browser_sends_as_origin_is_refused(site, origin):
    problem = site.problem(LISTENER.format("localhost:1") + f'allowed_origins = ["{origin}"]\n')
    assert problem.key == "listener[0].allowed_origins[0]"


@pytest.mark.parametrize("host", ["", "a:80", "a/b", "-a", "*"])
def test_allowed_hosts_are_names_alone(site, host):
    problem = site.problem(LISTENER.format("localhost:1") + f'allowed_hosts = ["{host}"]\n')
    assert problem.key == "listener[0].allowed_hosts[0]"


def test_products_have_keys_of_their_own(site):
    problem = site.problem(PRODUCT * 2, P="x")
    assert (problem.line, problem.key) == (5, "product[1].key")


def test_a_product_has_exactly_one_secret(site):
    assert site.problem('[[product]]\nkey = "p"\n').found == "no secret"
    problem = site.problem(PRODUCT + 'secret_credential = "p"\n', P="x")
    assert (problem.key, problem.expected) == ("product[0].secret_credential", "secret_env alone")


def test_a_product_that_no_upstream_takes_is_an_error(site):
    problem = site.problem(PRODUCT + SAMSARA + URL + NONE, P="x")
    assert (problem.line, problem.key) == (1, "product")
    site.load(PRODUCT + FILE, P="x")
    only_samsara = PRODUCT + FILE + 'dialects = ["samsara"]\n'
    assert site.problem(only_samsara, P="x").key == "product"


def test_a_traintracks_upstream_needs_a_product_to_sign_for(site):
    assert site.problem(TRAINTRACKS).key == "upstream[0].kind"
    site.load(PRODUCT + TRAINTRACKS, P="x")


def test_upstream_names_are_unique_and_plain(site):
    assert site.problem(FILE + 'directory = "a"\n' + FILE + 'directory = "b"\n').key == "upstream[1].name"
    for name in ("", "A", "a_b", "a" * 33, "a\\n"):
        assert site.problem(f'[[upstream]]\nname = "{name}"\nkind = "file"\n').key == "upstream[0].name"


def test_two_upstreams_never_write_the_same_files(site):
    problem = site.problem(FILE + FILE.replace('"f"', '"g"'))
    assert problem.key == "upstream[1].directory"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (FILE + URL, "url"),
        (FILE + NONE, "signing"),
        (FILE + "success = [200]\n", "success"),
        (SAMSARA + URL + NONE + 'directory = "x"\n', "directory"),
        (SAMSARA + URL + NONE + 'dialects = ["samsara"]\n', "dialects"),
        (SAMSARA + URL + NONE + 'late_after = "1m"\n', "late_after"),
        (PRODUCT + TRAINTRACKS + NONE, "signing"),
        (PRODUCT + TRAINTRACKS + "stamp_ids = true\n", "stamp_ids"),
        (PRODUCT + TRAINTRACKS + 'secret_env = "P"\n', "secret_env"),
    ],
)
def test_a_key_that_means_nothing_to_the_kind_is_refused(site, text, key):
    problem = site.problem(text, P="x")
    assert problem.key == f"upstream[0].{key}"
    assert "does not have" in problem.found


def test_every_upstream_key_belongs_to_some_kind():
    assert frozenset().union(*KEYS.values()) == set(Upstream.__struct_fields__)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ingest.example",
        "ftp://a.example/",
        "https://",
        "https://a.example:x/",
        "https://a.example:0/",
        "https://a b/",
        "https://a.example/#f",
        "https://ö.example/",
        "https://a.example/\\r\\nX:y",
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused(site, url):
    assert site.problem(SAMSARA + NONE + f'url = "{url}"\n').key == "upstream[0].url"


def test_a_url_in_an_error_has_no_userinfo(site):
    problem = site.problem(SAMSARA + NONE + 'url = "http://me:hunter2@a.example/"\n')
    assert problem.found == '"http://***@a.example/"'


def test_a_url_is_needed(site):
    assert site.problem(SAMSARA + NONE).found == "nothing"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]"])
def test_plain_http_is_fine_on_this_machine(site, host):
    site.load(SAMSARA + NONE + f'url = "http://{host}/v1/events"\n')


@pytest.mark.parametrize("host", ["a.example", "10.0.0.1", "localhost.example", "127.0.0.1.example"])
def test_plain_http_to_another_machine_must_be_said(site, host):
    text = SAMSARA + NONE + f'url = "http://{host}/v1/events"\n'
    assert "allow_plaintext" in site.problem(text).expected
    site.load(text + "allow_plaintext = true\n")


def test_a_samsara_upstream_says_how_it_is_signed(site):
    problem = site.problem(SAMSARA + URL)
    assert (problem.key, problem.found) == ("upstream[0].signing", "nothing")


RFC9421 = SAMSARA + URL + 'signing = "rfc9421"\n'


def test_signing_needs_a_key_and_its_id(site):
    assert [problem.key for problem in site.problems(RFC9421)] == [
        "upstream[0].key_id",
        "upstream[0].key_file",
    ]


def test_signing_takes_a_private_key_or_a_shared_secret_but_not_both(site, ed25519_pem):
    site.secret("k.pem", ed25519_pem)
    key, secret = 'key_id = "k"\nkey_file = "k.pem"\n', 'secret_env = "S"\n'
    assert site.load(RFC9421 + key).upstream[0].key is not None
    assert site.load(RFC9421 + 'key_id = "k"\n' + secret, S="x").upstream[0].secret is not None
    assert site.problem(RFC9421 + key + secret, S="x").key == "upstream[0].secret_env"


def test_a_key_file_must_hold_an_ed25519_key(site):
    site.secret("k.pem", b"not a key")
    problem = site.problem(RFC9421 + 'key_id = "k"\nkey_file = "k.pem"\n')
    assert (problem.key, problem.expected) == ("upstream[0].key_file", "an Ed25519 private key in PEM")
    assert "not a key" not in problem.found


def test_a_key_beside_no_signing_is_a_contradiction(site):
    text = SAMSARA + URL + NONE + 'key_id = "k"\nkey_file = "k.pem"\n'
    assert [problem.key for problem in site.problems(text)] == ["upstream[0].key_id", "upstream[0].key_file"]


def test_a_ca_file_must_hold_certificates(site):
    text = SAMSARA + URL + NONE + 'ca_file = "ca.pem"\n'
    assert "cannot be read" in site.problem(text).found
    (site.root / "ca.pem").write_text("nothing")
    assert site.problem(text).found == "a file without any"
    (site.root / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    site.load(text)


def test_a_status_means_one_thing(site):
    problem = site.problem(SAMSARA + URL + NONE + "success = [200, 202]\nretry = [500, 202]\n")
    assert (problem.key, problem.expected) == ("upstream[0].retry[1]", "not in success too")


def test_the_first_delay_is_within_the_longest(site):
    problem = site.problem(FILE + 'backoff = { initial = "2m" }\n')
    assert problem.key == "upstream[0].backoff.initial"
    assert site.problem(FILE + 'backoff = { max = "1ms" }\n').key == "upstream[0].backoff.max"


def test_a_file_upstream_takes_something(site):
    assert site.problem(FILE + "dialects = []\n").key == "upstream[0].dialects"
