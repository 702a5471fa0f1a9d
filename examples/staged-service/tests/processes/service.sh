#!/bin/bash
# Starts a service as a supervisor would, and tells which release runs. The working folder is the machine.
#
# usage: service.sh start|release; UPGRADE_SERVICE is `api` or `worker`
set -eu
name=$UPGRADE_SERVICE
case $1 in
start)
    # A start by a tool that was killed may still be under way.
    exec 9>"$name.lock"
    flock 9
    if [[ -e $name.group ]]; then kill -KILL -- "-$(<"$name.group")" 2>/dev/null || true; fi
    case $name in api) does=serve ;; *) does=work ;; esac
    setsid bash -c 'while :; do "$0" "$1"; sleep 0.05; done' \
        "$RELEASES/orders-v$UPGRADE_RELEASE" "$does" >>"$name.log" 2>&1 9>&- &
    echo $! >"$name.group"
    echo "$UPGRADE_RELEASE" >"$name.release"
    ;;
release)
    # Nothing, where none runs.
    if [[ $name == api ]]; then
        if exec 3<>"/dev/tcp/${LISTEN%:*}/${LISTEN#*:}"; then
            printf 'GET /release HTTP/1.0\r\n\r\n' >&3
            tail -n 1 <&3
        fi
    elif kill -0 -- "-$(<"$name.group")"; then
        cat "$name.release"
    fi
    ;;
esac
