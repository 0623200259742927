#!/bin/sh
# The command of the packages. The real path, so that a process goes on with the files that it
# began with when an upgrade puts others in the place of /opt/waystation/current.
here=$(readlink -f "$0")
here=${here%/bin/*}
exec "$here/bin/python3.11" -I -B -m collector "$@"
