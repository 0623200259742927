#!/bin/sh
# dpkg: remove, upgrade, deconfigure, failed-upgrade. rpm: 0 to remove, 1 to upgrade.
set -eu

UNITS="waystation.socket waystation-http.socket waystation-http6.socket waystation.service"

case "${1:-}" in
remove | deconfigure | 0) ;;
*) exit 0 ;;
esac
command -v systemctl >/dev/null || exit 0
if [ -d /run/systemd/system ]; then
    # Together, or a client could start the daemon between the two.
    systemctl stop $UNITS || true
fi
# dpkg keeps what is enabled with the rest of the configuration, until the purge; rpm has no such state.
if [ "$1" = 0 ]; then
    systemctl disable --quiet $UNITS || true
fi
