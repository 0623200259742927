from __future__ import annotations

from itertools import count

from collector.admin.links import KEY_SECONDS, LINK_SECONDS, MAX_KEYS, MAX_LINKS, Links, query_value


class Desk:
    """Links on a clock of their own."""

    def __init__(self) -> None:
        self.now = 0.0
        numbers = count()
        self.links = Links(lambda: self.now, lambda: f"secret {next(numbers)}")

    def key(self) -> str:
        key = self.links.open(self.links.make())
        assert key is not None
        return key


def test_a_link_opens_once():
    links = Desk().links
    link = links.make()
    assert links.has_link(link)
    key = links.open(link)
    assert key is not None
    assert links.has_key(key)
    assert not links.has_link(link)
    assert links.open(link) is None


def test_a_link_is_no_key_and_a_key_no_link():
    desk = Desk()
    assert not desk.links.has_key(desk.links.make())
    assert desk.links.open(desk.key()) is None
    assert not desk.links.has_key("")


def test_a_link_that_is_not_opened_ends():
    desk = Desk()
    link = desk.links.make()
    desk.now = LINK_SECONDS
    assert not desk.links.has_link(link)
    assert desk.links.open(link) is None


def test_a_key_ends_an_hour_after_its_last_use():
    desk = Desk()
    key = desk.key()
    for _ in range(3):
        desk.now += KEY_SECONDS - 1
        assert desk.links.has_key(key)
    desk.now += KEY_SECONDS
    assert not desk.links.has_key(key)


def test_there_are_never_more_than_a_few():
    desk = Desk()
    first = desk.links.make()
    for _ in range(MAX_LINKS):
        desk.links.make()
    assert not desk.links.has_link(first)
    kept, idle = desk.key(), desk.key()
    for _ in range(MAX_KEYS - 1):
        assert desk.links.has_key(kept)
        desk.key()
    assert desk.links.has_key(kept)
    assert not desk.links.has_key(idle)


def test_what_a_query_says():
    assert query_value("a=1&key=x%2Fy&b=", "key") == "x/y"
    assert query_value("", "key") == query_value("keys=1", "key") == ""
