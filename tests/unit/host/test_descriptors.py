"""As many connections as are configured may be open, where the system allows it."""

from __future__ import annotations

import resource

import pytest

from collector.host.descriptors import SPARE, allow

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "raised_to"),
    [
        pytest.param(1024, 4096, 512, None, id="enough"),
        pytest.param(UNLIMITED, UNLIMITED, 512, None, id="no limit"),
        pytest.param(256, 4096, 512, 512 + SPARE, id="raised"),
        pytest.param(256, UNLIMITED, 512, 512 + SPARE, id="raised without bound"),
        pytest.param(256, 600, 600 - SPARE, 600, id="raised as far as it goes"),
    ],
)
def test_the_limit_is_raised_where_it_must_be(monkeypatch, soft, hard, allowed, raised_to):
    told = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))
    assert allow(512) == allowed
    assert told == ([] if raised_to is None else [(raised_to, hard)])


def test_a_system_that_refuses_is_taken_at_its_word(monkeypatch):
    def refuse(_what, _limits):
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (300, 9999))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert allow(512) == 300 - SPARE
