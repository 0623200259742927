#!/bin/sh
# dpkg: remove, upgrade, deconfigure, failed-upgrade. rpm: 0 to remove, 1 to upgrade.
set -eu

case "${1:-}" in
remove | deconfigure | 0) ;;
*) exit 0 ;;
esac
if command -v systemctl >/dev/null; then
    if [ -d /run/systemd/system ]; then
        # Together, or a client could start the daemon between the two.
        systemctl stop waystation.socket waystation-http.socket waystation-http6.socket waystation.service || true
    fi
    systemctl disable --quiet waystation.service waystation.socket waystation-http.socket waystation-http6.socket || true
fi
