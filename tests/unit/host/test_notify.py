"""What the service manager hears, on a socket of the kind that it makes."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager

import pytest

from collector.host.notify import Notifier


@contextmanager
def manager(address):
    """A manager's end; yields the environment that it gives, and a way to hear the next message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.settimeout(30)
        yield {"NOTIFY_SOCKET": address}, lambda: sock.recv(4096).decode().splitlines()


@pytest.fixture(params=["path", "abstract"])
def heard(request, tmp_path):
    with manager(f"{tmp_path}/notify" if request.param == "path" else f"@{tmp_path}") as both:
        yield both


def test_readiness_status_and_life_are_told(heard):
    environ, hear = heard
    notify = Notifier(environ)
    notify.ready()
    assert hear() == ["READY=1"]
    notify.status("two\nlines")
    assert hear() == ["STATUS=two lines"]
    notify.alive()
    assert hear() == ["WATCHDOG=1"]


def test_a_reload_is_told_with_its_time_and_its_end(heard):
    environ, hear = heard
    notify = Notifier(environ)
    notify.ready()
    hear()
    with notify.reload():
        word, moment = hear()
        assert word == "RELOADING=1"
        assert int(moment.removeprefix("MONOTONIC_USEC=")) > 0
    assert hear() == ["READY=1"]


def test_a_reload_before_readiness_does_not_look_like_readiness(heard):
    environ, hear = heard
    notify = Notifier(environ)
    with notify.reload():
        pass
    notify.alive()
    assert hear() == ["WATCHDOG=1"]


def test_a_stop_asks_for_the_time_that_it_may_take(heard):
    environ, hear = heard
    Notifier(environ).stopping(within=50)
    assert hear() == ["STOPPING=1", "STATUS=stopping", "EXTEND_TIMEOUT_USEC=50000000"]


def test_a_long_start_asks_for_more_time_again_and_again_until_it_is_over(heard):
    environ, hear = heard
    notify = Notifier(environ)
    with notify.starting("opening the spool", every=0.001):
        assert hear() == ["STATUS=opening the spool"]
        for _ in range(3):
            assert hear() == ["EXTEND_TIMEOUT_USEC=60000000"]
    notify.ready()
    while (said := hear()) != ["READY=1"]:
        assert said == ["EXTEND_TIMEOUT_USEC=60000000"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_manager_nothing_happens(environ):
    notify = Notifier(environ)
    notify.ready()
    with notify.starting("opening"), notify.reload():
        notify.stopping(within=1)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_where_this_process_is_watched(environ, seconds):
    assert Notifier(environ).watchdog_seconds == seconds
