# What both scripts begin with. $OLD_DATA and $NEW_DATA are the two volumes.
set -euo pipefail

# The user of the server does the work; root only hands it the empty volume.
if [[ $(id -u) == 0 ]]; then
    [[ -n "$(ls -A "$NEW_DATA")" ]] || install -d -m 0700 -o postgres -g postgres "$NEW_DATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups bash -c "$SCRIPT"
fi

fact() { printf '@fact\t%s\t%s\n' "$1" "$2"; }

old_major=$(cat "$OLD_DATA/PG_VERSION" 2>/dev/null || true)
old_bin=/usr/lib/postgresql/$old_major/bin
new_bin=/usr/lib/postgresql/$NEW_MAJOR/bin
work=$(mktemp -d)
cd "$work"

# serve BIN DATA COMMAND...: with a server that only this container reaches.
serve() {
    local bin=$1 data=$2 status=0
    shift 2
    "$bin/pg_ctl" --pgdata="$data" --wait --silent --log="$work/server.log" \
        --options="-c listen_addresses='' -c unix_socket_directories='$work' -p 5432" start \
        || { cat "$work/server.log"; return 1; }
    PGHOST=$work PGPORT=5432 "$@" || status=$?
    "$bin/pg_ctl" --pgdata="$data" --wait --silent --mode=fast stop
    return "$status"
}

control() { LC_ALL=C "$old_bin/pg_controldata" "$OLD_DATA" | sed -n "s/^$1: *//p"; }
