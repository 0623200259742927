"""The local HTTP side: sockets, connections, admission, and the endpoints that apps post to."""
