#!/bin/sh
# dpkg: remove, purge, upgrade, disappear, and those of failure. rpm: 0 after a removal, 1 after an upgrade.
set -eu

case "${1:-}" in
remove | 0)
    rm -rf /opt/waystation/live-* /opt/waystation/current /opt/waystation/current.new /opt/waystation/unfinished \
        /run/waystation
    rmdir /opt/waystation 2>/dev/null || true
    [ ! -d /run/systemd/system ] || systemctl daemon-reload || true
    if [ -d /var/lib/waystation ]; then
        echo "waystation: the events are kept in /var/lib/waystation, and its user and group are too"
    fi
    ;;
purge)
    rm -rf /var/lib/waystation /var/lib/private/waystation /etc/waystation
    # The units are gone, and `systemctl disable` would not know what they were wanted by.
    rm -f /etc/systemd/system/multi-user.target.wants/waystation.service
    for socket in waystation waystation-http waystation-http6; do
        rm -f "/etc/systemd/system/sockets.target.wants/$socket.socket"
    done
    ;;
esac
