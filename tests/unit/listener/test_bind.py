"""Sockets from `bind` values: what is bound, with which rights, and what is never taken from others."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
import sys

import pytest

from collector.errors import BindError
from collector.listener import bind as module
from collector.listener.bind import adopt, bind


@contextlib.contextmanager
def bound_to(text, **options):
    bound = bind(text, **options)
    try:
        yield bound
    finally:
        for each in bound:
            each.close()


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def dead_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()


def test_localhost_is_both_loopback_addresses_on_one_port():
    with bound_to("localhost:0") as bound:
        ports = {each.sock.getsockname()[1] for each in bound}
        assert len(ports) == 1
        (port,) = ports
        assert [each.address for each in bound] == [f"127.0.0.1:{port}", f"[::1]:{port}"]
        assert {each.kind for each in bound} == {"tcp"}
        assert not any(each.sock.getblocking() for each in bound)


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_machine_without_ipv6_has_one_localhost(number, monkeypatch):
    def listen(host, port, backlog):
        if ":" in host:
            raise OSError(number, os.strerror(number))
        return real(host, port, backlog)

    real = module._listen_tcp
    monkeypatch.setattr(module, "_listen_tcp", listen)
    with bound_to("localhost:0") as bound:
        assert [each.address.rpartition(":")[0] for each in bound] == ["127.0.0.1"]
    with pytest.raises(BindError):
        bind("[::1]:0")


def test_one_address_is_one_socket():
    with bound_to("127.0.0.1:0") as (bound,):
        assert bound.sock.family == socket.AF_INET
    with bound_to("[::1]:0") as (bound,):
        assert bound.address.startswith("[::1]:")


def test_a_taken_port_is_one_clear_line():
    with bound_to("127.0.0.1:0") as (bound,):
        with pytest.raises(BindError) as caught:
            bind(bound.address)
        assert (
            str(caught.value) == f"cannot listen on {bound.address}: the address is in use by another process"
        )


def test_localhost_is_not_half_bound():
    with bound_to("[::1]:0") as (bound,):
        port = bound.sock.getsockname()[1]
        with pytest.raises(BindError, match=rf"cannot listen on \[::1\]:{port}: "):
            bind(f"localhost:{port}")
        with bound_to(f"127.0.0.1:{port}"):
            pass


def test_an_ipv6_address_leaves_the_ipv4_port_alone():
    with bound_to("[::]:0") as (bound,), bound_to(f"0.0.0.0:{bound.sock.getsockname()[1]}"):
        pass


def test_a_port_can_be_bound_again_at_once():
    with bound_to("127.0.0.1:0") as (bound,):
        address = bound.address
        client = socket.create_connection(bound.sock.getsockname())
        served, _ = bound.sock.accept()
        served.close()
        client.close()
    with bound_to(address):
        pass


@pytest.mark.parametrize(
    "text", ["", "9000", "example.com:9000", "127.0.0.1:99999", "unix:relative", "unix:"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(BindError, match="expected "):
        bind(text)


def test_a_unix_socket_has_its_mode_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with bound_to(f"unix:{tmp_path}/s", mode=0o666):
            assert mode_of(tmp_path / "s") == 0o666
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


def test_a_unix_socket_is_never_open_wider_than_asked(tmp_path, monkeypatch):
    seen = []
    real = module._bind_closed

    def spy(sock, path):
        made = real(sock, path)
        seen.append(mode_of(path))
        return made

    monkeypatch.setattr(module, "_bind_closed", spy)
    with bound_to(f"unix:{tmp_path}/s", mode=0o660):
        assert seen == [0o600]


def test_a_unix_socket_gets_its_group(tmp_path):
    group = grp.getgrgid(os.getgroups()[-1] if os.getuid() else 1)
    with bound_to(f"unix:{tmp_path}/dir/s", group=group.gr_name):
        assert os.lstat(tmp_path / "dir" / "s").st_gid == group.gr_gid
        assert os.lstat(tmp_path / "dir").st_gid == group.gr_gid
        assert mode_of(tmp_path / "dir") == 0o710


def test_where_no_group_may_be_given_the_own_one_still_can_be_named(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)  # as the systemd unit's filter does
    own, other = grp.getgrgid(os.getgid()).gr_name, next(g for g in grp.getgrall() if g.gr_gid != os.getgid())
    with bound_to(f"unix:{tmp_path}/dir/s", group=own) as (bound,):
        bound.restrict(mode=0o600, group=own)
        with pytest.raises(BindError, match=r"`group` may not have it .* SocketGroup="):
            bound.restrict(mode=0o660, group=other.gr_name)
    with pytest.raises(BindError, match=r"`group` may not have it .* SocketGroup="):
        bind(f"unix:{tmp_path}/t", group=other.gr_name)
    assert not (tmp_path / "t").exists()


def test_a_missing_group_is_named(tmp_path):
    with pytest.raises(BindError, match="there is no group 'nobody-has-this'"):
        bind(f"unix:{tmp_path}/s", group="nobody-has-this")
    assert not (tmp_path / "s").exists()


def test_a_missing_directory_is_made_for_the_owner_alone(tmp_path):
    with bound_to(f"unix:{tmp_path}/a/b/s"):
        assert mode_of(tmp_path / "a" / "b") == 0o700


def test_a_path_that_is_too_long_is_refused_with_both_lengths(monkeypatch):
    long = f"/{'x' * 200}"
    with pytest.raises(BindError):
        bind(f"unix:{long}")
    monkeypatch.setattr(module, "MAX_UNIX_PATH", 20)
    path = "/dir/" + "é" * 10
    with pytest.raises(BindError, match="the path has 25 bytes, and a socket's path may have 20"):
        bind(f"unix:{path}")


def test_the_longest_path_that_the_system_takes_is_taken(tmp_path):
    name = "s" * (module.MAX_UNIX_PATH - len(str(tmp_path)) - 1)
    with bound_to(f"unix:{tmp_path}/{name}"):
        pass
    with pytest.raises(OSError, match="too long"), socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{tmp_path}/{name}s")


def test_the_socket_of_a_dead_process_is_replaced(tmp_path):
    dead_socket(tmp_path / "s")
    with bound_to(f"unix:{tmp_path}/s"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))


@pytest.mark.parametrize("full", [False, True])
def test_a_live_socket_is_never_taken(tmp_path, full):
    with socket.socket(socket.AF_UNIX) as live, contextlib.ExitStack() as waiting:
        live.bind(str(tmp_path / "s"))
        live.listen(0)
        inode = os.lstat(tmp_path / "s").st_ino
        for _ in range(2 if full else 0):
            client = waiting.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            client.connect_ex(str(tmp_path / "s"))
        with pytest.raises(BindError, match="another process listens there"):
            bind(f"unix:{tmp_path}/s")
        assert os.lstat(tmp_path / "s").st_ino == inode


def test_a_socket_of_another_sort_is_never_taken(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as live:
        live.bind(str(tmp_path / "s"))
        with pytest.raises(BindError, match="cannot tell whether it is in use"):
            bind(f"unix:{tmp_path}/s")


def test_a_file_that_is_no_socket_is_never_removed(tmp_path):
    (tmp_path / "s").write_text("precious")
    with pytest.raises(BindError, match="not a socket"):
        bind(f"unix:{tmp_path}/s")
    (tmp_path / "link").symlink_to(tmp_path / "s")
    with pytest.raises(BindError, match="not a socket"):
        bind(f"unix:{tmp_path}/link")
    assert (tmp_path / "s").read_text() == "precious"


def test_two_processes_that_start_together_do_not_take_it_from_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOCK_TRIES", 2)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(BindError, match="another process holds a lock"):
        bind(f"unix:{tmp_path}/s")
    os.close(other)
    with bound_to(f"unix:{tmp_path}/s"):
        pass


def test_closing_removes_the_file(tmp_path):
    with bound_to(f"unix:{tmp_path}/s") as (bound,):
        pass
    assert not (tmp_path / "s").exists()
    bound.close()


def test_closing_leaves_a_successors_file_alone(tmp_path):
    with bound_to(f"unix:{tmp_path}/s"):
        (tmp_path / "s").unlink()
        dead_socket(tmp_path / "s")
    assert (tmp_path / "s").exists()


def test_closing_an_adopted_socket_leaves_its_file(tmp_path):
    with socket.socket(socket.AF_UNIX) as handed:
        handed.bind(str(tmp_path / "s"))
        handed.listen()
        bound = adopt(handed.dup())
        assert (bound.kind, bound.inherited, bound.address) == ("unix", True, f"unix:{tmp_path}/s")
        bound.close()
    assert (tmp_path / "s").exists()


def test_an_adopted_socket_says_where_it_is():
    with socket.create_server(("127.0.0.1", 0)) as handed:
        bound = adopt(handed.dup())
        assert bound.address == f"127.0.0.1:{handed.getsockname()[1]}"
        assert bound.kind == "tcp"
        assert not bound.sock.getblocking()
        bound.close()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wrong,
        pytest.raises(BindError, match="inherited"),
    ):
        adopt(wrong)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="abstract names are Linux's")
def test_an_adopted_socket_may_have_an_abstract_name():
    with socket.socket(socket.AF_UNIX) as handed:
        handed.bind("\0waystation-test")
        handed.listen()
        bound = adopt(handed.dup())
        assert bound.address == "unix:@waystation-test"
        bound.close()


def test_what_the_system_refuses_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        BindError, match=rf"cannot listen on unix:{tmp_path}/file/s: {tmp_path}/file is not a directory"
    ):
        bind(f"unix:{tmp_path}/file/s")
    with pytest.raises(
        BindError, match=r"cannot listen on 192\.0\.2\.1:0: this machine does not have that address"
    ):
        bind("192.0.2.1:0")
