#!/bin/sh
# The command of the packages. The real path, so that a process goes on with the files that it
# began with when an upgrade puts others in the place of /opt/waystation/current.
here=$(readlink -f "$0")
here=${here%/bin/*}
# The OpenSSL in it is Debian's, and looks for the certificates that it trusts in Debian's place.
if [ -z "${SSL_CERT_FILE:-}${SSL_CERT_DIR:-}" ] && [ ! -e /usr/lib/ssl/certs ]; then
    for bundle in /etc/pki/tls/certs/ca-bundle.crt /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem \
        /etc/ssl/ca-bundle.pem /etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem; do
        if [ -r "$bundle" ]; then
            export SSL_CERT_FILE="$bundle"
            break
        fi
    done
fi
exec "$here/bin/python3.11" -I -B -m collector "$@"
