#!/bin/sh
# dpkg: configure [VERSION], abort-upgrade, abort-remove, abort-deconfigure. rpm: 1 to install, 2 to upgrade.
set -eu

HOME_DIRECTORY=/opt/waystation
SOCKETS="waystation.socket waystation-http.socket waystation-http6.socket"

# The daemon runs from a copy (hard links: it takes no space) of what the package brings, so that
# at each moment of an upgrade, and after a power cut in it, one whole release is there to start.
activate() {
    name=$(cat "$HOME_DIRECTORY/package/BUILD")
    live=$HOME_DIRECTORY/live-$name
    if [ ! -d "$live" ]; then
        rm -rf "$live.partial"
        cp -al "$HOME_DIRECTORY/package" "$live.partial" 2>/dev/null ||
            { rm -rf "$live.partial"; cp -a "$HOME_DIRECTORY/package" "$live.partial"; }
        sync -f "$HOME_DIRECTORY" 2>/dev/null || sync
        mv -T "$live.partial" "$live"
    fi
    ln -sfn "live-$name" "$HOME_DIRECTORY/current.new"
    sync -f "$HOME_DIRECTORY" 2>/dev/null || sync
    mv -T "$HOME_DIRECTORY/current.new" "$HOME_DIRECTORY/current"
    sync -f "$HOME_DIRECTORY" 2>/dev/null || sync
}

forget_other_releases() {
    for other in "$HOME_DIRECTORY"/live-*; do
        [ "$other" = "$HOME_DIRECTORY/$(readlink "$HOME_DIRECTORY/current")" ] || rm -rf "$other"
    done
}

account() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers waystation.conf
    else
        getent group waystation >/dev/null || groupadd --system waystation
        getent passwd waystation >/dev/null || useradd --system --gid waystation --no-create-home \
            --home-dir /var/lib/waystation --shell /usr/sbin/nologin waystation
    fi
    if command -v systemd-tmpfiles >/dev/null; then
        systemd-tmpfiles --create waystation.conf || true
    fi
}

case "${1:-}" in
configure | abort-upgrade | abort-remove | abort-deconfigure | 1 | 2) ;;
*) exit 0 ;;
esac

new=yes
[ ! -L "$HOME_DIRECTORY/current" ] || new=no
account
activate
if command -v systemctl >/dev/null; then
    if [ "$new" = yes ]; then
        # Also where no systemd runs, as in the making of an image: it starts at the first boot.
        systemctl enable --quiet waystation.service $SOCKETS || true
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        if [ "$new" = yes ]; then
            systemctl start $SOCKETS
            systemctl start waystation.service || echo "waystation: it did not start; see journalctl -u waystation" >&2
        else
            systemctl try-restart waystation.service || true
        fi
    fi
fi
forget_other_releases
if [ "$new" = yes ]; then
    echo "waystation: running; \`waystation status\` says what to do next"
fi
