#!/bin/sh
# Three PostgreSQL nodes on loopback, for demos and tests: a leader, and two standbys of which one must have every commit
# (ANY 1). Which of them leads is decided by hand here; a real cluster has Patroni for it, see docs/CLUSTER.md.
#
#   tools/cluster.sh start FOLDER         makes FOLDER with three nodes and starts them
#   tools/cluster.sh status FOLDER        what each node is, and how far its log reaches
#   tools/cluster.sh psql FOLDER [ARGUMENT ...]     psql on the leader, as the administrator, in the database loteria
#   tools/cluster.sh kill-leader FOLDER   ends the leader's processes with SIGKILL
#   tools/cluster.sh promote FOLDER       makes the standby that is ahead the leader, and has the other one follow it
#   tools/cluster.sh rejoin FOLDER        starts nodes that have ended; one that was the leader is cloned anew, or leads again if
#                                         no node runs
#   tools/cluster.sh stop FOLDER          ends the nodes and removes FOLDER
#
# FOLDER then has: hosts (HOSTS = address:port,... for a hub's config.ini), password (of the role loteria, and of the
# administrator postgres) and a folder for each node. The role loteria may connect to the database loteria and owns nothing.
#
# PostgreSQL 14 or newer is needed: the newest of /usr/lib/postgresql/*/bin (Debian), /usr/pgsql-*/bin and the path is taken.
# It refuses to run as root; where root calls this script, the nodes run as the user postgres.

unset CDPATH # `cd` would look there
nodes='1 2 3'
seconds_max=60

fail() {
    echo "cluster: $1" >&2
    exit "${2:-1}"
}

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    start | stop | status | psql | kill-leader | promote | rejoin) command=$1 ;;
    '') fail "usage: $0 COMMAND FOLDER; see $0 -h" 2 ;;
    *) fail "'$1' is not known; see $0 -h" 2 ;;
esac
[ -n "${2-}" ] || fail "$command: which folder? See $0 -h" 2
[ $# -eq 2 ] || [ "$command" = psql ] || fail "'$3' is one too many; see $0 -h" 2
given=$2
shift 2

# The newest PostgreSQL here, of 14 or newer.
postgres_bin() {
    for place in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin "$(dirname "$(command -v initdb 2>/dev/null || echo /none/initdb)")"; do
        [ -x "$place/initdb" ] && [ -x "$place/pg_basebackup" ] || continue
        major=$("$place/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
        [ "${major:-0}" -lt 14 ] || echo "$major $place"
    done | sort -n | tail -n 1 | cut -d ' ' -f 2-
}
bin=$(postgres_bin)
[ -n "$bin" ] || fail "PostgreSQL 14 or newer is not here; Debian's package is postgresql (its initdb is in /usr/lib/postgresql/*/bin)"
as=''
if [ "$(id -u)" -eq 0 ]; then
    id postgres >/dev/null 2>&1 || fail "PostgreSQL refuses to run as root, and there is no user postgres; Debian's package postgresql has one"
    if command -v setpriv >/dev/null; then
        as='setpriv --reuid=postgres --regid=postgres --init-groups'
    elif command -v runuser >/dev/null; then
        as='runuser -u postgres --'
    else
        fail "PostgreSQL refuses to run as root; setpriv or runuser (package util-linux) is needed to run it as postgres"
    fi
fi

# Runs a command as the user of the nodes. Nothing of the caller's stays open in a node that lives on.
as_node() { (cd / && exec $as "$@" 3>&- 4>&-); }

random_port() { echo $((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000)); } # below those that systems give out
port() { cat "$folder/port$1"; }
data() { echo "$folder/node$1/data"; }
others() { for node in $nodes; do [ "$node" = "$1" ] || echo "$node"; done; }

# The process of a node, if it runs. A number of a node that was killed may be another program's by now.
pid() {
    pid=$(as_node sed -n 1p "$(data "$1")/postmaster.pid" 2>/dev/null)
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return
    [ ! -d /proc/self ] || [ "$(readlink "/proc/$pid/cwd")" = "$(data "$1")" ] || return
    echo "$pid"
}
runs() { [ -n "$(pid "$1")" ]; }

# Asks node $1 as the administrator. A node that does not answer makes it fail.
ask() {
    PGPASSWORD=$password PGCONNECT_TIMEOUT=5 PGOPTIONS='-c statement_timeout=30s' "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 \
        -h 127.0.0.1 -p "$(port "$1")" -U postgres -d "${3:-postgres}" -c "$2" 2>>"$folder/log"
}

# Waits until a question to node $1 is answered with $3.
until_answered() {
    end=$(($(date +%s) + seconds_max))
    until [ "$(ask "$1" "$2")" = "$3" ]; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# What a node has in its configuration beside its port and the one it follows. `synchronous_standby_names` is the same
# at all times, so that a new leader does not commit alone, not even its first transaction. The log that is kept is for a
# standby that has to catch up.
configuration() {
    set -- "$1" $(others "$1")
    cat <<END
include_if_exists = 'follow.conf'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
cluster_name = 'node$1'
synchronous_standby_names = 'ANY 1 (node$2, node$3)'
synchronous_commit = on
wal_keep_size = 1GB
max_connections = 60
wal_retrieve_retry_interval = 200ms
wal_receiver_timeout = 5s
wal_sender_timeout = 5s
password_encryption = 'scram-sha-256'
END
}

# Has node $1 follow node $2: at its next start, or now if it runs.
follow() {
    echo "primary_conninfo = 'host=127.0.0.1 port=$(port "$2") user=postgres password=$password application_name=node$1'" |
        as_node sh -c 'umask 077; cat >"$1/follow.conf"' sh "$(data "$1")"
    ! runs "$1" || ask "$1" 'SELECT pg_reload_conf()' >/dev/null
}

# Starts node $1; further arguments are options of postgres. A node without a port gets one that is free.
launch() {
    node=$1
    shift
    # A server that was killed may be a zombie still: it has its process id, and PostgreSQL takes it for one that runs.
    runs "$node" || as_node rm -f "$(data "$node")/postmaster.pid"
    tries=0
    fixed=$([ -s "$folder/port$node" ] && echo yes)
    while [ "$tries" -lt 20 ]; do
        [ -n "$fixed" ] || random_port >"$folder/port$node"
        as_node "$bin/pg_ctl" -D "$(data "$node")" -l "$folder/node$node/log" -t "$seconds_max" -o "-p $(port "$node") $*" -w -s start \
            </dev/null >>"$folder/log" 2>&1 && return
        [ -z "$fixed" ] && as_node grep -q 'Address already in use' "$folder/node$node/log" || break
        tries=$((tries + 1))
    done
    as_node tail -n 3 "$folder/node$node/log" >&2
    fail "node$node does not start; see $folder/node$node/log"
}

# A standby that is a copy of the leader.
clone() {
    as_node rm -rf "$(data "$1")"
    PGPASSWORD=$password as_node "$bin/pg_basebackup" -h 127.0.0.1 -p "$(port "$2")" -U postgres -D "$(data "$1")" \
        --checkpoint=fast --no-sync --wal-method=stream >>"$folder/log" 2>&1 || {
        tail -n 3 "$folder/log" >&2
        fail "node$1 cannot be copied from node$2; see $folder/log"
    }
    configuration "$1" | as_node sh -c 'cat >"$1/node.conf"; : >"$1/standby.signal"' sh "$(data "$1")"
    follow "$1" "$2"
}

# Ends a node as a crash would: the first process is stopped before, so that it starts no others.
kill_node() {
    pid=$(pid "$1")
    [ -n "$pid" ] || return 0
    kill -STOP "$pid" 2>/dev/null
    children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null || ps -o pid= --ppid "$pid" 2>/dev/null)
    kill -KILL "$pid" $children 2>/dev/null
    while kill -0 "$pid" 2>/dev/null && runs "$1"; do sleep 0.05; done
}

end_all() {
    for node in $nodes; do
        ! runs "$node" || as_node "$bin/pg_ctl" -D "$(data "$node")" -m immediate -w -s stop >/dev/null 2>&1 || kill_node "$node"
    done
}

start() {
    [ ! -e "$given" ] || [ -z "$(ls -A "$given")" ] || fail "$given is there already and is not empty; name a new folder" 2
    mkdir -p "$given" && folder=$(cd "$given" && pwd -P) || fail "$given cannot be made"
    # pg_ctl starts the node by a shell, which would read them.
    case $folder in
        *['$`\"']*) rmdir "$folder" 2>/dev/null; fail "$folder has a \$, \`, \" or \\ in its name; name another folder" 2 ;;
    esac
    chmod 711 "$folder"
    as_node test -x "$folder" || {
        rmdir "$folder"
        fail "the user postgres cannot enter $given; make the folders above it passable (chmod go+x), or name another one"
    }
    trap 'code=$?; [ $code -eq 0 ] || { end_all; rm -rf "$folder"; }' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 141' PIPE
    trap 'exit 143' TERM
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && echo "$password" >"$folder/password")
    for node in $nodes; do
        mkdir "$folder/node$node" || exit 1
        [ -z "$as" ] || chown postgres "$folder/node$node"
        chmod 700 "$folder/node$node"
    done
    echo "$password" | as_node sh -c 'umask 077; cat >"$1/password"' sh "$folder/node1"
    as_node "$bin/initdb" -D "$(data 1)" -U postgres --auth=scram-sha-256 --pwfile="$folder/node1/password" --encoding=UTF8 --no-locale \
        --data-checksums --no-sync >>"$folder/log" 2>&1 || { tail -n 3 "$folder/log" >&2; fail "initdb fails"; }
    configuration 1 | as_node sh -c 'cat >"$1/node.conf"; echo "include '\''node.conf'\''" >>"$1/postgresql.conf"' sh "$(data 1)"
    echo 1 >"$folder/leader"
    launch 1
    first=''
    for node in $(others 1); do clone "$node" 1 & first="$first $!"; done
    for clone in $first; do wait "$clone" || exit 1; done
    for node in $(others 1); do launch "$node"; done
    # These wait for a standby, as everything does from now on.
    ask 1 "CREATE ROLE loteria LOGIN PASSWORD '$password'" && ask 1 "CREATE DATABASE loteria" || fail "no role or database; see $folder/log"
    for node in $nodes; do printf '%s127.0.0.1:%s' "$([ "$node" = 1 ] && printf 'HOSTS = ' || printf ,)" "$(port "$node")"; done >"$folder/hosts"
    echo >>"$folder/hosts"
    echo "three nodes run, node1 leads; $(cat "$folder/hosts")"
}

# What follows needs the folder of a cluster.
open() {
    folder=$(cd "$given" 2>/dev/null && pwd -P) && [ -f "$folder/leader" ] && [ -f "$folder/password" ] ||
        fail "$given is no folder that \`$0 start\` made" 2
    password=$(cat "$folder/password")
    leader=$(cat "$folder/leader")
}

status() {
    printf '%-6s %-7s %-8s %s\n' node port is 'log up to'
    for node in $nodes; do
        is=ended reach=-
        if runs "$node"; then
            answer=$(ask "$node" "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby ' || coalesce(pg_last_wal_receive_lsn()::text, '-')
                ELSE 'leader ' || pg_current_wal_flush_lsn() END") || answer='silent -'
            is=${answer% *} reach=${answer#* }
        fi
        printf '%-6s %-7s %-8s %s\n' "node$node" "$(port "$node")" "$is" "$reach"
    done
}

# How far a standby's log reaches. One that was started anew names as received what it has asked for, the beginning of a segment,
# until more comes.
log_end='greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())'

# Both standbys must answer: each commit that was answered is on one of them, and nothing else says on which. The old
# leader must have ended, and each standby have read to its end what was on its way, before the two are compared.
promote() {
    ! runs "$leader" || fail "node$leader still leads; \`$0 kill-leader\` ends it"
    for node in $(others "$leader"); do
        runs "$node" || fail "node$node does not run, and it may be the one with the last commits: start it with \`$0 rejoin\` before"
        until_answered "$node" 'SELECT count(*) FROM pg_stat_wal_receiver' 0 || fail "node$node still receives from somewhere; see $folder/log"
        # One that was started has replayed all that it has by the time it asks for more.
        until_answered "$node" 'SELECT pg_last_wal_receive_lsn() IS NOT NULL' t || fail "node$node still replays its log; see $folder/log"
    done
    set -- $(others "$leader")
    first=$(ask "$1" "SELECT $log_end") && second=$(ask "$2" "SELECT $log_end") && [ -n "$first" ] && [ -n "$second" ] ||
        fail "a standby does not say what it has received; see $folder/log"
    [ "$(ask "$1" "SELECT pg_lsn '$first' >= pg_lsn '$second'")" = t ] || set -- "$2" "$1"
    [ "$(ask "$1" "SELECT pg_promote(true, $seconds_max / 2)")" = t ] || fail "node$1 cannot be promoted; see $folder/node$1/log"
    echo "$1" >"$folder/leader"
    follow "$2" "$1"
    echo "node$1 leads (the standbys had received $first and $second)"
    until_answered "$1" "SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'" t ||
        fail "node$2 does not follow node$1, so commits wait; see $folder/node$2/log"
}

# Standbys go first, because `promote` needs both. Where no node runs, none was promoted after the one that led last, which has
# every commit that was answered: it leads again.
rejoin() {
    all_ended=yes
    for node in $nodes; do ! runs "$node" || all_ended=''; done
    if [ -n "$all_ended" ]; then
        launch "$leader"
        echo "node$leader leads again"
    fi
    for node in $(others "$leader"); do
        ! runs "$node" && as_node test -e "$(data "$node")/standby.signal" || continue
        follow "$node" "$leader"
        launch "$node"
        echo "node$node follows node$leader"
    done
    runs "$leader" || fail "node$leader was the leader and has ended: \`$0 promote\` comes first, and then \`$0 rejoin\` again"
    for node in $(others "$leader"); do
        ! runs "$node" || continue
        clone "$node" "$leader"
        launch "$node"
        echo "node$node follows node$leader"
    done
}

case $command in
    start) start ;;
    *) open ;;
esac
case $command in
    status) status ;;
    psql) PGPASSWORD=$password exec "$bin/psql" -X -h 127.0.0.1 -p "$(port "$leader")" -U postgres -d loteria "$@" ;;
    kill-leader)
        runs "$leader" || fail "node$leader, the leader, does not run"
        kill_node "$leader"
        echo "node$leader is gone"
        ;;
    promote) promote ;;
    rejoin) rejoin ;;
    stop)
        end_all
        rm -rf "$folder"
        ;;
esac
