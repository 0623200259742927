#!/bin/sh
# dpkg: configure [VERSION], abort-upgrade, abort-remove, abort-deconfigure. rpm: 1 to install, 2 to upgrade.
set -eu

HOME_DIRECTORY=/opt/waystation
SOCKETS="waystation.socket waystation-http.socket waystation-http6.socket"
UNFINISHED=$HOME_DIRECTORY/unfinished

# The daemon runs from a copy (hard links: it takes no space) of what the package brings, so that
# at each moment of an upgrade, and after a power cut in it, one whole release is there to start.
activate() {
    package=$(readlink -f "$HOME_DIRECTORY/package")
    name=$(cat "$package/BUILD")
    live=$HOME_DIRECTORY/live-$name
    if [ ! -d "$live" ]; then
        rm -rf "$live.partial"
        cp -al "$package" "$live.partial" 2>/dev/null ||
            { rm -rf "$live.partial"; cp -a "$package" "$live.partial"; }
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

# For dpkg; an .rpm brings it as its own file.
configuration() {
    brought=/usr/share/waystation/config.toml
    if [ -e "$brought" ] && [ ! -e /etc/waystation/config.toml ]; then
        install -m 0644 "$brought" /etc/waystation/config.toml.new
        sync -f /etc/waystation 2>/dev/null || sync
        mv /etc/waystation/config.toml.new /etc/waystation/config.toml
    fi
}

# What is enabled runs afterwards; what an operator has disabled is left as it is. The sockets come first,
# and one that cannot be had (its port is taken) does not keep the others from their clients.
begin() {
    failed=no
    for unit in $SOCKETS; do
        if systemctl is-enabled --quiet "$unit" 2>/dev/null; then
            systemctl start "$unit" || failed=yes
        fi
    done
    if systemctl is-enabled --quiet waystation.service 2>/dev/null; then
        systemctl restart waystation.service || failed=yes
    else
        systemctl try-restart waystation.service || failed=yes
    fi
    [ "$failed" = no ]
}

# An installation is the first one until it has come to its end. dpkg tells so by the version that was
# configured last, also when it tries again. rpm tells so once, so a mark stands for the unfinished one,
# and a power cut before this script leaves no `current`.
first=no
case "${1:-}" in
configure) [ -n "${2:-}" ] || first=yes ;;
1) first=yes ;;
2) [ ! -e "$UNFINISHED" ] && [ -L "$HOME_DIRECTORY/current" ] || first=yes ;;
abort-upgrade | abort-remove | abort-deconfigure) ;;
*) exit 0 ;;
esac

if [ "$first" = yes ]; then
    : >"$UNFINISHED"
    configuration
fi
account
activate
if command -v systemctl >/dev/null; then
    if [ "$first" = yes ]; then
        # Also where no systemd runs, as in the making of an image: it starts at the first boot.
        systemctl enable --quiet waystation.service $SOCKETS
        sync -f /etc/systemd/system 2>/dev/null || sync
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        if ! begin; then
            echo "waystation: not all of it started; see \`systemctl status 'waystation*'\` and \`journalctl -u waystation\`" >&2
            # systemd goes on trying to start a daemon that was upgraded; a first installation is tried again.
            [ "$first" = no ] || exit 1
        fi
    fi
fi
rm -f "$UNFINISHED"
forget_other_releases
if command -v systemctl >/dev/null && ! systemctl is-enabled --quiet waystation.service 2>/dev/null; then
    echo "waystation: disabled, and stays so until \`systemctl enable --now waystation.service $SOCKETS\`"
elif [ "$first" = yes ]; then
    echo "waystation: running; \`sudo waystation status\` says what to do next"
fi
