#!/bin/sh
# Checks that the running server is an echo server: sends a line with netcat and compares the whole reply.
#
#   validar-echo-server.sh [-v]      prints one line, exits 0 on success and 1 on failure; -v prints the reason to stderr
#
# Netcat runs in a container of the project's network: nothing is installed here and no port is published.
# A refused connection is retried for a few seconds, because a server that was just started may not listen yet.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    '' | -v) ;;
    *) echo "validar-echo-server: '$1' is not known; see $0 -h" >&2; exit 2 ;;
esac
[ $# -le 1 ] || { echo "validar-echo-server: usage: $0 [-v]" >&2; exit 2; }

network=tp0_testing_net
image=busybox:latest
host=server

# Not through /dev/stderr: opening it again would truncate a file that stderr is redirected to.
if [ "${1:-}" = -v ]; then exec 3>&2; else exec 3>/dev/null; fi

unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd)
root=${here%/tools}
config=$root/config.ini
[ ! -f "$root/server/config.ini" ] || config=$root/server/config.ini

fail() {
    echo "$1" >&3
    echo "action: test_echo_server | result: fail"
    exit 1
}

# The port is the last one that the running server logged: its file may have changed since its start, and the system may
# have chosen the port. Without this log line, `server --check` reports the configured port: in the running container,
# or else in a new one of its image with the mounted file.
port_of() { sed -n 's/^SERVER_PORT = +*0*\([0-9]*\)$/\1/p'; }
port=$(docker logs "$host" 2>&1 </dev/null |
    sed -n 's/^[^|]* action: listen | result: success | address: [^ ]*:\([0-9][0-9]*\)[^0-9]*$/\1/p' | tail -n 1)
[ -n "$port" ] || port=$(docker exec "$host" server --check 2>/dev/null </dev/null | port_of)
if [ -z "$port" ] && [ -f "$config" ] && docker image inspect server:latest >/dev/null 2>&1; then
    read_config=$(docker run --rm --network none --user "$(ls -nL "$config" | awk '{ print $3 ":" $4 }')" \
        --mount "type=bind,source=$config,target=/loteria/config.ini,readonly" server:latest --check 2>&3 </dev/null) ||
        case $read_config in
            *SERVER_PORT*) ;; # it has a key that the server does not know, which a start only warns about
            *) fail "$config is not one that the server takes" ;;
        esac
    port=$(echo "$read_config" | port_of)
    [ -n "$port" ] || fail "$config lets the system choose the port (SERVER_PORT = 0), so that none can be asked"
fi
port=${port:-12345}
message="echo $$ $(date +%s): ¿ñandú | 7574?"

# A netcat that exits with an error and without output was refused. A netcat that connected is not retried. Its time-out
# is five seconds, for a server that replies but never closes.
inside='
tries=0
while :; do
    answer=$(printf "%s\n" "$1" | timeout 5 nc "$2" "$3"; echo "exit $?")
    case $answer in
        "exit 0" | "exit 124" | "exit 143") break ;;
        "exit "*) ;;
        *) break ;;
    esac
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || break
    sleep 0.25
done
printf "%s" "$answer"
'
answer=$(docker run --rm --network "$network" "$image" sh -c "$inside" sh "$message" "$host" "$port" 2>&3 </dev/null)

# The reply, without the line with netcat's exit code after it.
echoed=${answer%exit *}
expected="$message
"
if [ "$echoed" = "$expected" ]; then
    echo "action: test_echo_server | result: success"
    exit 0
fi
printf 'sent to %s:%s: %s\nanswered: %s\n' "$host" "$port" "$message" "$answer" >&3
[ -n "$echoed" ] || echo "nothing was answered: make docker-compose-up starts the server" >&3
echo "action: test_echo_server | result: fail"
exit 1
