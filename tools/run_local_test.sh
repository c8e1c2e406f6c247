#!/bin/sh
# Recreates the containers, waits for the clients, writes the logs to logs.txt and checks them.
#
#   tools/run_local_test.sh [FILE]      FILE is the compose file (default docker-compose-dev.yaml)
#
# The containers are kept; `make docker-compose-down` removes them. Exits with 0 on success.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "run_local_test: '$1' is not known; see $0 -h" >&2; exit 2 ;;
esac
[ $# -le 1 ] || { echo "run_local_test: usage: $0 [FILE]" >&2; exit 2; }

unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}
cd "$root" || exit 1
file=${1:-docker-compose-dev.yaml}
logs=logs.txt
seconds_max=${SECONDS_MAX:-300}

compose() { sh "$here/compose.sh" "$file" "$@"; }
fail() {
    echo "run_local_test: $1" >&2
    exit 1
}

[ ! -f "$file" ] || { compose stop -t 1 && compose down; } || fail "the containers of an earlier run cannot be removed"
make -s docker-compose-up COMPOSE_FILE="$file" || fail "make docker-compose-up failed"

clients=$(sed -n 's/^    container_name: \(client[0-9]*\)$/\1/p' "$file")
mode=$(sed -n 's/^      CLI_MODE: //p' "$file" | head -n 1)

# The exit code of container $1 after its end; nothing after a time-out.
exit_code() {
    while :; do
        set -- "$1" $(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1")
        [ "${2:-}" != exited ] || { echo "$3"; return; }
        [ "$(date +%s)" -lt "$deadline" ] || return
        sleep 1
    done
}

bad=0
complain() {
    echo "  $1"
    bad=1
}
echo "waiting for: $(echo "$clients" | tr '\n' ' ')"
deadline=$(($(date +%s) + seconds_max))
for client in $clients; do
    code=$(exit_code "$client")
    [ "$code" = 0 ] || complain "$client: exit code ${code:-none within $seconds_max seconds}"
done
# Some versions of Compose begin every line with a code that clears it, even in a file.
compose logs --no-color >"$logs.raw" || complain "the logs could not be read"
sed "s/$(printf '\033')\[[0-9;]*[A-Za-z]//g" "$logs.raw" >"$logs" && rm "$logs.raw"

# The number of bets in an agency file, counted by the client's check of it. It runs as the file's owner, who can read the
# file in any mode.
bets_of() { # FILE
    docker run --rm --network none --user "$(ls -nL "$1" | awk '{ print $3 ":" $4 }')" --env CLI_MODE=agency \
        --mount "type=bind,source=$root/$1,target=/loteria/$1,readonly" client:latest --check "$1" |
        sed -n 's/.*: \([0-9]*\) bets\{0,1\}, 0 bad rows$/\1/p'
}

lines() { grep -c -- "$1" "$logs"; }
count=$(echo "$clients" | grep -c .)
case $mode in
    agency)
        sent=0
        for client in $clients; do
            rows=$(bets_of ".data/agency-${client#client}.csv")
            sent=$((sent + ${rows:-0}))
            winners=$(sed -n "s/^$client .*action: consulta_ganadores | result: success | cant_ganadores: //p" "$logs" | tr -d '\r')
            [ -n "$winners" ] || complain "$client: no winners received"
            echo "  $client: bets: ${rows:-unreadable}, winners: ${winners:-no answer}"
        done
        stored=$(sed -n 's/^server .*action: apuesta_recibida | result: success | cantidad: \([0-9]*\).*/\1/p' "$logs" |
            awk '{ bets += $1 } END { print bets + 0 }')
        echo "  server: bets stored: $stored, sent: $sent"
        [ "$stored" -eq "$sent" ] || complain "stored and sent differ"
        [ "$(lines 'action: sorteo | result: success')" -eq 1 ] || complain "there was not one draw"
        ;;
    bet)
        [ "$(lines 'action: apuesta_enviada | result: success')" -eq "$count" ] || complain "not every client's bet was confirmed"
        [ "$(lines 'action: apuesta_almacenada | result: success')" -eq "$count" ] || complain "not every bet was stored"
        ;;
    echo)
        [ "$(lines 'action: loop_finished | result: success')" -eq "$count" ] || complain "not every client finished its loop"
        ;;
esac
grep -n 'result: fail' "$logs" && complain "there are failures in $logs"

if [ "$bad" -eq 0 ]; then
    echo "run_local_test: success, clients: $count; see $logs"
else
    echo "run_local_test: fail; see $logs" >&2
fi
exit "$bad"
