# Starts a browser's driver in the current folder and waits until standard input ends, which it does when
# its owner ends, in whatever way. Then it kills every process of that browser and removes the folder.
# Without arguments it only cleans.
#
# Processes are found by the folder: a variable or an option of each names a path in it. Groups and sessions
# do not suffice, because the browser starts processes that leave both.
folder=$PWD
mark="=$folder/"
driver=

if [ $# -gt 0 ]; then
    {
        TMPDIR=$folder/t HOME=$folder/t XDG_CONFIG_HOME=$folder/t XDG_CACHE_HOME=$folder/t LC_ALL=C.UTF-8 "$@"
        echo "the driver ended with $?"
    } >log 2>&1 </dev/null &
    driver=$!
    trap '' HUP INT QUIT TERM
    while read -r _; do :; done
fi

# The mark is not an argument, or this would find itself.
owned() {
    printf '%s\n' "$mark" | grep -lsaF -f - /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null |
        cut -d / -f 3 | grep -vx "$$"
}

# What starts the driver lives as long as the driver. Before that has begun, it has no mark.
starting() {
    [ -n "$driver" ] && read -r _ _ state _ 2>/dev/null <"/proc/$driver/stat" && [ "$state" != Z ]
}

tries=0
while { pids=$(owned) || starting; } && [ $tries -lt 500 ]; do
    kill -KILL $pids 2>/dev/null
    tries=$((tries + 1))
done
cd /
rm -rf -- "$folder"
