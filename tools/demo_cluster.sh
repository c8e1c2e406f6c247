#!/bin/sh
# One draw by three hubs over three PostgreSQL nodes on loopback, with failures in mid-upload: the leader of the nodes is
# killed, the standby that is ahead is promoted, then a hub is killed. At the end every row and every winner is compared.
#
#   tools/demo_cluster.sh    BETS=1000000     bets of each of the five agencies; fewer may be uploaded before anything fails
#                            WINNING_NUMBER=7574
#
# Needs PostgreSQL 14 or newer and haproxy (Debian's packages postgresql and haproxy); no Docker, no root. All of it is in a
# temporary folder, which is removed at the end. This failover is the demo's: a script that knows that the leader is dead. On
# real machines Patroni decides, see docs/CLUSTER.md. Exits with 0 only if nothing was lost, doubled or changed.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    ?*) echo "demo_cluster: '$1' is not known; settings are variables, see $0 -h" >&2; exit 2 ;;
esac

BETS=${BETS:-1000000} WINNING_NUMBER=${WINNING_NUMBER:-7574}
hubs=3
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}
bin=${CARGO_TARGET_DIR:-target}/release
case $bin in /*) ;; *) bin=$root/$bin ;; esac # cargo runs in $root
unset SERVER_IP CLI_LINGER # ours would speak of another server

. "$here/cluster_draw.sh"
PATH=$PATH:/usr/sbin
command -v haproxy >/dev/null || fail "haproxy is not here; Debian's package is haproxy"

echo "building the programs: some minutes the first time"
(cd "$root" && cargo build --release --locked --bin server --bin client --bin datos) || fail "the programs do not build"

work=$(mktemp -d) && chmod 711 "$work" && cd "$work" || fail "no folder for temporary files"
began=$(date +%s)
nodes() { # COMMAND [ARGUMENT ...]
    command=$1
    shift
    sh "$here/cluster.sh" "$command" "$work/nodes" "$@"
}
hub_pids='' clients=''
clean() {
    kill $clients $hub_pids 2>/dev/null
    [ ! -s haproxy.pid ] || kill "$(cat haproxy.pid)" 2>/dev/null
    [ ! -e nodes/leader ] || nodes stop
    wait
    cd / && rm -rf "$work"
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# What the leader says, or nothing while there is none.
asked() { nodes psql -qAt -c "$1" 2>>psql.log; }
tell() { tail -n 5 client-*.log hub?/log hub?/err; }

make_bets "$bin/datos" || exit 1
said=$(nodes start) || exit 1
say "$said"
"$bin/server" --schema | nodes psql -q -v ON_ERROR_STOP=1 >schema.log 2>&1 || { cat schema.log >&2; fail "the schema cannot be made"; }

# The hubs: the same file for each, in a folder of its own.
hub_pid() { echo "$hub_pids" | cut -d ' ' -f "$1"; }
listens() { kill -0 "$2" 2>/dev/null || return 0; grep -q 'action: listen | result: success' "hub$1/log"; }
hub=0
while [ "$hub" -lt "$hubs" ]; do
    hub=$((hub + 1))
    mkdir "hub$hub"
    cat >"hub$hub/config.ini" <<END
[DEFAULT]
SERVER_PORT = 0
BIND_ADDRESS = 127.0.0.1
PROXY_FROM = 127.0.0.1
LOGGING_LEVEL = INFO

[LOTTERY]
AGENCIES = $agencies
WINNING_NUMBER = $WINNING_NUMBER
DRAW = 1

[STORAGE]
ENGINE = postgres

[POSTGRES]
$(cat nodes/hosts)
DATABASE = loteria
USER = loteria
PASSWORD_FILE = $work/nodes/password
TLS = off

[LIMITS]
DIALECTS = native

[LOG]
BATCHES = off
END
    (cd "hub$hub" && exec "$bin/server" --config config.ini >log 2>err) &
    hub_pids="$hub_pids${hub_pids:+ }$!"
done
servers=''
hub=0
while [ "$hub" -lt "$hubs" ]; do
    hub=$((hub + 1))
    until_done listens "$hub" "$(hub_pid "$hub")"
    port=$(sed -n 's/.*action: listen | result: success | address: .*://p' "hub$hub/log" | head -n 1)
    [ -n "$port" ] || { tail -n 5 "hub$hub/log" "hub$hub/err" >&2; fail "hub $hub did not start"; }
    servers="$servers 127.0.0.1:$port"
done

# A port that is free cannot be asked for, so it is tried.
balance() {
    address=127.0.0.1:$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
    # shellcheck disable=SC2086 # a word each
    sh "$root/tools/cluster/balancer.sh" --print "$address" 200ms $servers >haproxy.cfg
    haproxy -D -f haproxy.cfg -p haproxy.pid >haproxy.log 2>&1
}
tries=0
until balance; do
    tries=$((tries + 1))
    [ "$tries" -lt 10 ] || { tail -n 3 haproxy.log >&2; fail "haproxy does not start"; }
done
say "$hubs hubs run, haproxy on $address in front; $agencies agencies upload $BETS bets each"

# As in tools/demo.sh: with the project's configuration, wherever it is.
for file in "$root/client/config.yaml" "$root/config.yaml"; do
    [ ! -f "$file" ] || client_config=${client_config:-$file}
done
i=0
while [ "$i" -lt "$agencies" ]; do
    i=$((i + 1))
    CLI_ID=$i CLI_MODE=agency CLI_PROTOCOL=native CLI_SERVER_ADDRESS=$address CLI_DATA=data/agency-$i.csv CLI_WINNERS='' \
        CLI_LOG_LEVEL=INFO "$bin/client" ${client_config:+--config "$client_config"} >"client-$i.log" 2>&1 &
    clients="$clients $!"
done

reach 20
gone=$(nodes kill-leader) || exit 1
say "$bets bets are stored; the leader is killed: $gone"
leads=$(nodes promote) || exit 1
say "promoted: $leads"
reach 60
kill -KILL "$(hub_pid 1)"
hub_pids=$(echo "$hub_pids" | cut -d ' ' -f 2-)
say "$bets bets are stored; hub 1 is killed"

i=0
for client in $clients; do
    i=$((i + 1))
    wait "$client" || { complain "agency $i ended with exit code $?:"; tail -n 5 "client-$i.log" >&2; }
done
clients=''
say "every agency has its winners; stored rows are compared with the agencies' files"

compare

hub=1
for pid in $hub_pids; do
    hub=$((hub + 1))
    kill -TERM "$pid"
    wait "$pid" || complain "hub $hub ended with exit code $?"
done
hub_pids=''
[ "$bad" -eq 0 ] || { tell >&2; exit 1; }
say "nothing lost, nothing twice, one draw. This failover is the demo's; on real machines it is Patroni's: docs/CLUSTER.md"
