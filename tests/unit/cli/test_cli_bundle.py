from __future__ import annotations

import json
import tarfile
import tomllib

import pytest
from fakes.certificates import Authority

from collector.admin.redaction import Redaction
from collector.config.load import load


def files_of(path):
    with tarfile.open(path) as archive:
        return {
            member.name.partition("/")[2]: archive.extractfile(member).read().decode()
            for member in archive.getmembers()
        }


def test_without_a_daemon_it_gathers_what_there_is_and_says_what_is_not(run, home):
    outcome = run("support-bundle", "-o", "out.tar.gz", "--log", "no.log")
    assert outcome.code == 0, outcome.err
    files = files_of(home / "out.tar.gz")
    assert {"README.txt", "config.toml", "machine.json", "doctor.txt", "missing.txt"} <= files.keys()
    assert json.loads(files["machine.json"])["waystation"]
    assert "metrics.txt: no daemon answers" in files["missing.txt"]
    assert "log.txt: " in files["missing.txt"]


def test_its_documents_can_be_read_as_what_they_are(run, home):
    (home / "c.toml").write_text(
        '[[upstream]]\nname = "s"\nkind = "samsara"\nsigning = "none"\nurl = "https://u:p@h/v1?key=hunter2"\n'
    )
    assert run("support-bundle", "-o", "out.tar.gz", "--config", "c.toml").code == 0
    files = files_of(home / "out.tar.gz")
    assert tomllib.loads(files["config.toml"])["upstream"][0]["url"] == "https://***@h/v1?key=***"
    for name in files:
        if name.endswith(".json"):
            json.loads(files[name])


def test_a_configuration_that_cannot_be_used_is_told_and_no_obstacle(run, home):
    (home / "bad.toml").write_text("colour = 1\n")
    outcome = run("support-bundle", "-o", "out.tar.gz", "--config", "bad.toml")
    assert outcome.code == 0
    files = files_of(home / "out.tar.gz")
    assert "colour" in files["config-errors.txt"]
    assert "config.toml" not in files


def test_a_file_that_is_there_is_not_overwritten(run, home):
    (home / "out.tar.gz").write_text("mine")
    assert run("support-bundle", "-o", "out.tar.gz").code == 64
    assert (home / "out.tar.gz").read_text() == "mine"


PLANTED = {
    "listener.secret": "bearer-of-listener",
    "next-product.secret": "secret-to-come",
    "present.secret": "key-of-today",
    "next.secret": "key-of-tomorrow",
    "client.key": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n",
}


@pytest.fixture
def redaction(home):
    Authority(home).issue("client")
    for name, content in {"p.secret": "hunter2hunter2\n", **PLANTED}.items():
        (home / name).touch(mode=0o600)
        (home / name).write_text(content)
    (home / "c.toml").write_text("""
[[listener]]
bind = "127.0.0.1:0"
token_file = "listener.secret"

[[product]]
key = "a32e6578-17b7-11e4-930a-bc764e1c05e4"
secret_file = "p.secret"
next_secret_file = "next-product.secret"

[[product]]
key = "b32e6578-17b7-11e4-930a-bc764e1c05e4"
secret_file = "gone.secret"

[[upstream]]
name = "tt"
kind = "traintracks"
url = "https://me:pass%77ord@api.example/v1?key=value-of-key"
proxy = "http://px:wayproxypass@proxy.example:3128"

[[upstream]]
name = "samsara"
kind = "samsara"
url = "https://api.example/v1"
signing = "rfc9421"
key_id = "k"
secret_file = "present.secret"
next = { secret_file = "next.secret" }
client_cert_file = "client.pem"
client_key_file = "client.key"
""")
    redaction = Redaction()
    environ = {"HTTPS_PROXY": "http://px:proxypass@proxy.example:3128", "HOME": str(home)}
    redaction.learn(load(home / "c.toml", environ, read_secrets=False), environ)
    return redaction


@pytest.mark.parametrize(
    "text",
    [
        "a line with hunter2hunter2 in it",
        "aHVudGVyMmh1bnRlcjI=",
        b"hunter2hunter2".hex(),
        "someone said pass%77ord",
        "and value-of-key, and proxypass, and wayproxypass",
        *(content.splitlines()[len(content.splitlines()) // 2] for content in PLANTED.values()),
        "Authorization: Bearer abcdefghijkl",
        "my_token=abcdefghijkl",
        '"admin_password": "abcdefghijkl"',
        "https://u:abcdefghijkl@h/p?q=abcdefghijkl#abcdefghijkl",
        "-----BEGIN PRIVATE KEY-----\nabcdefghijkl\n-----END PRIVATE KEY-----",
    ],
)
def test_secrets_are_left_out_whatever_stands_around_them(redaction, text):
    cleaned = redaction.clean(text.encode()).decode()
    left_out = (
        "of-listener",
        "to-come",
        "of-today",
        "of-tomorrow",
        "MC4CAQ",
        "hunter2",
        "aHVudGVy",
        "68756e74",
        "pass%77ord",
        "value-of-key",
        "proxypass",
        "abcdef",
    )
    for secret in left_out:
        assert secret not in cleaned


def test_what_tells_nothing_stays(redaction):
    for text in ('secret_file = "/etc/p.secret"', "waystation_tokens_total: 17", "lane=tt/traintracks"):
        assert redaction.clean(text.encode()).decode() == text


def test_secrets_that_cannot_be_read_are_named(redaction, home):
    assert redaction.unread == [f"file {home / 'gone.secret'}"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            '{"level": "debug", "answer": "till \\"4\\" sold 3", "batch": "5f"}',
            '{"level": "debug", "answer": "***", "batch": "5f"}',
        ),
        (
            'level=debug event=upstream_said answer="till-4 \\"sold\\" 3" lane=a/samsara',
            'level=debug event=upstream_said answer="***" lane=a/samsara',
        ),
        ("event=upstream_said answer=till-4 lane=a", 'event=upstream_said answer="***" lane=a'),
        ("http 401 Unauthorized: JSON of 57 bytes", "http 401 Unauthorized: JSON of 57 bytes"),
    ],
)
def test_what_upstreams_answer_is_left_out_since_it_may_repeat_an_event(redaction, text, left):
    assert redaction.clean(text.encode()).decode() == left
