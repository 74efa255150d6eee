# Stops the shared test server once no test process has used it for a while.
#
# $1: file on which every test process holds a shared lock, which the kernel releases
# $2: the server's data directory   $3: seconds that it outlives its last user
exec 9<>"$1"
while :; do
    flock --exclusive 9
    flock --unlock 9
    sleep "$3"
    flock --exclusive --nonblock 9 && break
done
# From here on a new test process waits for our lock.
pid=$(head -n 1 "$2/postmaster.pid") || exit 0
[ "$(readlink "/proc/$pid/cwd")" = "$2" ] || exit 0
kill -QUIT "$pid"
while [ "$(readlink "/proc/$pid/cwd")" = "$2" ]; do sleep 0.05; done
