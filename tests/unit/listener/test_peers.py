"""Who is at the other end of a UNIX socket, by what the kernel says."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest

from collector.listener import stream
from collector.listener.routes import Peer
from collector.listener.stream import peer_of

GROUPS = 16  # NGROUPS of macOS


def xucred(*, version=0, uid=501, groups=(20, 12, 61)):
    """`struct xucred` of macOS's sys/ucred.h: u_int, uid_t, short (and two bytes of padding), gid_t[16]."""
    listed = [*groups, *[0] * (GROUPS - len(groups))]
    return struct.pack("=IIhH16I", version, uid, len(groups), 0, *listed)


class MacSocket:
    """Answers as a connected UNIX socket of macOS does, to the options of its sys/un.h alone."""

    family = socket.AF_UNIX

    def __init__(self, credentials=b"", pid=77):
        self.credentials = credentials
        self.pid = pid

    def getsockopt(self, level, option, size=None):
        answers = {(0, 1, 76): self.credentials, (0, 2, None): self.pid}  # LOCAL_PEERCRED, LOCAL_PEERPID
        answer = answers[level, option, size]
        if isinstance(answer, OSError):
            raise answer
        return answer if size is None else answer[:size]


@pytest.fixture
def _mac(monkeypatch):
    monkeypatch.setattr(stream.sys, "platform", "darwin")


@pytest.mark.usefixtures("_mac")
def test_macos_names_user_groups_and_process():
    found = peer_of(MacSocket(xucred()), "")
    assert found == Peer("unix", uid=501, gid=20, pid=77, groups=(12, 61))
    full = tuple(range(100, 100 + GROUPS))
    assert peer_of(MacSocket(xucred(groups=full)), "").groups == full[1:]
    assert peer_of(MacSocket(xucred(uid=0, groups=(0,))), "") == Peer("unix", uid=0, gid=0, pid=77)


@pytest.mark.usefixtures("_mac")
@pytest.mark.parametrize("pid", [OSError(errno.ENOTCONN, "gone"), 0])
def test_a_process_that_is_gone_was_still_its_users(pid):
    assert peer_of(MacSocket(xucred(), pid), "") == Peer("unix", uid=501, gid=20, groups=(12, 61))


@pytest.mark.usefixtures("_mac")
@pytest.mark.parametrize(
    "credentials",
    [
        b"",
        xucred()[:12],
        xucred()[:-1],
        xucred(version=1),
        xucred(groups=()),
        struct.pack("=IIhH16I", 0, 501, -1, 0, *[20] * GROUPS),
        struct.pack("=IIhH16I", 0, 501, GROUPS + 1, 0, *[20] * GROUPS),
        OSError(errno.EINVAL, "no such option"),
        OSError(errno.ENOTCONN, "gone"),
    ],
)
def test_what_cannot_be_read_of_macos_names_nobody(credentials):
    assert peer_of(MacSocket(credentials), "") == Peer("unix")


def test_this_system_names_this_process():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = peer_of(theirs, "")
    assert (found.kind, found.uid) == ("unix", os.geteuid())
    assert found.gid == os.getegid()
    assert found.pid == os.getpid()
    assert set(found.groups) <= set(os.getgroups())  # an older kernel tells none


def test_over_tcp_the_address_is_all_that_is_known():
    with socket.socket() as sock:
        assert peer_of(sock, ("127.0.0.1", 1234)) == Peer("tcp", address="127.0.0.1")
