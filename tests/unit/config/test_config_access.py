"""Users, tokens and limits of listeners, as the configuration names them."""

from __future__ import annotations

import pytest

from collector.config.model import Config, Limits, Listener
from collector.core import limits
from collector.core.limits import ConnectionLimits, ContentLimits

UNIX = '[[listener]]\nbind = "unix:/a"\n'
TCP = '[[listener]]\nbind = "localhost:1"\n'
FILE = '[[upstream]]\nname = "f"\nkind = "file"\n'


def test_users_and_groups_are_named_or_numbered(site):
    (listener,) = site.load(UNIX + 'allow_users = ["root", "4711"]\nallow_groups = ["0"]\n').listener
    assert (listener.allow_users, listener.allow_groups) == (("root", "4711"), ("0",))


@pytest.mark.parametrize("name", ["no-such-user-here", "-1", "4294967296", "\\u0000", ""])
@pytest.mark.parametrize("key", ["allow_users", "allow_groups"])
def test_who_is_not_there_is_named(site, key, name):
    problem = site.problem(UNIX + f'{key} = ["root", "{name}"]\n')
    assert (problem.line, problem.key) == (3, f"listener[0].{key}[1]")
    assert "of this system" in problem.expected


def test_users_are_for_sockets_whose_peers_the_kernel_names(site):
    problems = site.problems(TCP + 'allow_users = ["root"]\nallow_groups = ["root"]\n')
    assert [problem.key for problem in problems] == ["listener[0].allow_users", "listener[0].allow_groups"]


def test_a_products_users_must_exist(site):
    site.secret("s", b"secret")
    product = '[[product]]\nkey = "p"\nsecret_file = "s"\n'
    assert site.load(product + 'users = ["root"]\n' + FILE).product[0].users == ("root",)
    assert site.problem(product + 'users = ["no-such-user-here"]\n' + FILE).key == "product[0].users[0]"


def test_a_token_is_in_one_place_that_is_there_and_closed_to_others(site):
    site.secret("good", b"token\n")
    site.secret("open", b"token", mode=0o644)
    (listener,) = site.load(TCP + 'token_file = "good"\n').listener
    assert listener.token.read({}) == b"token"
    assert site.load(TCP + 'token_env = "MY_TOKEN"\n', MY_TOKEN="t").listener[0].token is not None
    assert site.load(TCP).listener[0].token is None
    assert site.problem(TCP + 'token_file = "missing"\n').key == "listener[0].token_file"
    assert site.problem(TCP + 'token_file = "open"\n').key == "listener[0].token_file"
    assert site.problem(TCP + 'token_env = "MY_TOKEN"\n').key == "listener[0].token_env"
    both = site.problem(TCP + 'token_file = "good"\ntoken_env = "MY_TOKEN"\n', MY_TOKEN="t")
    assert both.key == "listener[0].token_env"


def test_a_variable_of_our_own_prefix_may_hold_the_token(site):
    site.load(TCP + 'token_env = "WAYSTATION_TOKEN"\n', WAYSTATION_TOKEN="t")


def test_limits_are_as_in_the_core_unless_they_are_set(site):
    assert Limits().connection == ConnectionLimits()
    assert Limits().content == ContentLimits()
    text = '[limits]\nmax_body_bytes = "1MiB"\nmax_events = 10\nhead_timeout = "2s"\nmax_connections = 7\n'
    found = site.load(text).limits
    assert (found.connection.body_bytes, found.connection.head_timeout) == (limits.MIB, 2)
    assert (found.content.events, found.max_connections) == (10, 7)
    assert site.load(WAYSTATION_LIMITS__MAX_EVENTS="3").limits.max_events == 3


@pytest.mark.parametrize(
    "setting",
    [
        'max_decoded_bytes = "33MiB"',  # what is stored must be readable by every later release
        "max_depth = 513",
        "max_events = 0",
        "max_connections = 0",
        'idle_timeout = "0s"',
        'max_body_bytes = "1GiB"',
    ],
)
def test_limits_have_limits(site, setting):
    assert site.problem(f"[limits]\n{setting}\n").key == "limits." + setting.split(" ", 1)[0]


def test_every_limit_and_listener_key_is_documented():
    for struct in (Limits, Listener, Config):
        assert all(f"{name}:" in (struct.__doc__ or "") for name in struct.__struct_fields__)
