"""Receivers behind TLS, and the name server that knows them; a program of its own, for it runs in
another network namespace.

It is told as JSON what to serve, says `serving`, and at the end of its input tells as JSON what
each receiver took, and what was wrong with it.
"""

from __future__ import annotations

import json
import socketserver
import ssl
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fakes.upstream import Upstream

_HEADER = 12
_A, _IN = b"\0\1", b"\0\1"


class _Names(socketserver.BaseRequestHandler):
    """Knows one IPv4 address for each name under `.test`, and nothing else."""

    def handle(self) -> None:
        question, channel = self.request
        end = question.index(b"\0", _HEADER) + 5
        asked, kind = question[_HEADER:end], question[end - 4 : end - 2]
        known = b"\4test\0" in asked
        answers = [b"\xc0\x0c" + _A + _IN + b"\0\0\0\1" + b"\0\4" + bytes([127, 0, 0, 1])]
        if not known or kind != _A:
            answers = []
        flags = b"\x81\x80" if known else b"\x81\x83"  # no such name
        counts = b"\0\1" + len(answers).to_bytes(2, "big") + b"\0\0\0\0"
        channel.sendto(question[:2] + flags + counts + asked + b"".join(answers), self.client_address)


def _upstream(said: dict[str, str]) -> Upstream:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(said["certificate"], said["key"])
    key: bytes | Ed25519PublicKey = said.get("secret", "").encode()
    if "public_key" in said:
        found = load_pem_public_key(said["public_key"].encode())
        assert isinstance(found, Ed25519PublicKey)
        key = found
    return Upstream(keys={said["key_id"]: key}, tls=tls, port=int(said["port"]))


def main() -> None:
    said = json.loads(sys.stdin.readline())
    with ExitStack() as stack:
        names = stack.enter_context(socketserver.UDPServer(("127.0.0.1", 53), _Names))
        threading.Thread(target=names.serve_forever, daemon=True).start()
        stack.callback(names.shutdown)
        upstreams = {name: stack.enter_context(_upstream(each)) for name, each in said.items()}
        print("serving", flush=True)
        sys.stdin.read()
        print(json.dumps({name: upstream.dump("/_taken") for name, upstream in upstreams.items()}))


if __name__ == "__main__":
    main()
