"""How many product keys may bring events."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from collector.config.model import Config, Limits, Product
from collector.listener.product_keys import ProductKeys


def config(*named, most):
    return Config(
        state_dir="/nowhere",
        limits=Limits(max_products=most),
        product=tuple(Product(key=key, secret_env="S") for key in named),
    )


@pytest.fixture
def keys():
    """Two are known of three that may be."""
    return ProductKeys(["a", "b"], config(most=3))


def test_known_keys_stay_welcome_and_count(keys):
    keys.enter("c")
    assert [keys.admits(key) for key in "abcd"] == [True, True, True, False]
    assert (len(keys), keys.refused) == (3, 1)


def test_what_has_not_brought_events_takes_no_place(keys):
    assert all(keys.admits(f"stranger-{number}") for number in range(10))
    assert len(keys) == 2


def test_more_may_be_known_than_a_new_bound_allows(keys):
    keys.change(config(most=1))
    assert [keys.admits(key) for key in "abc"] == [True, True, False]


def test_a_reload_makes_room(keys):
    keys.change(config(most=2))
    assert not keys.admits("c")
    keys.change(config(most=3))
    assert keys.admits("c")


def test_who_is_named_is_welcome_however_many_there_are(keys):
    keys.change(config("named", most=1))
    assert keys.admits("named")


def test_a_burst_of_refusals_is_told_once_and_then_what_it_came_to(keys):
    keys.change(config(most=1))
    told = []
    for refusals in (0, 3, 4, 0, 0, 1):
        for _ in range(refusals):
            keys.admits("stranger")
        with capture_logs() as logs:
            keys.tell()
        told.append([(line["event"], line["requests"]) for line in logs])
    assert told == [
        [],
        [("requests_refused", 3)],
        [],
        [("requests_refused_in_all", 7)],
        [],
        [("requests_refused", 1)],
    ]
