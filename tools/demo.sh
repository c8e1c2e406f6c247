#!/bin/sh
# One whole draw on loopback: the hub, and one client per agency file, with nothing but Rust.
#
#   tools/demo.sh        DIALECT=native   the agencies' dialect, or mixed: each agency speaks another one
#                        DATA=.data       the folder with agency-1.csv … agency-N.csv
#                        STORE=DIR        the folder that keeps the stored bets; without it they are deleted at the end
#                        WINNING_NUMBER=7574
#                        WATCH=1          waits for Enter before the agencies start, and before the hub stops, so that
#                                         there is time to open the page; needs a terminal
#
# Prints the build, the page's address, each agency that has uploaded, the draw and, per agency, the sent bets, the stored
# bets and the winners. Exits with 0 only if every program succeeded and the hub's replies match the agencies' files.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    ?*) echo "demo: '$1' is not known; settings are variables, see $0 -h" >&2; exit 2 ;;
esac

DIALECT=${DIALECT:-native} DATA=${DATA:-.data} WINNING_NUMBER=${WINNING_NUMBER:-7574}
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}
bin=${CARGO_TARGET_DIR:-target}/release
case $bin in /*) ;; *) bin=$root/$bin ;; esac # cargo runs in $root
. "$here/dialecto.sh"
unset SERVER_IP CLI_LINGER # ours would speak of another server

fail() {
    echo "demo: $1" >&2
    exit 1
}

case ${WATCH:-} in
    '' | 0) WATCH='' ;;
    1) [ -t 0 ] && [ -t 1 ] || { echo "demo: WATCH=1 waits for Enter, and there is no terminal here" >&2; exit 2; } ;;
    *) echo "demo: WATCH is '$WATCH'; it is 1 or empty" >&2; exit 2 ;;
esac
printf '%s\n' $dialects mixed | grep -qxF -e "$DIALECT" ||
    { echo "demo: DIALECT is '$DIALECT'; it is one of: $dialects mixed" >&2; exit 2; }
data=$(cd "$root" && cd "$DATA" 2>/dev/null && pwd) || { echo "demo: DATA: there is no folder $DATA" >&2; exit 2; }
[ "$data" != "$root/.data" ] || sh "$here/desempacar.sh" || exit 1
agencies=0
while [ -f "$data/agency-$((agencies + 1)).csv" ]; do agencies=$((agencies + 1)); done
[ "$agencies" -gt 0 ] || { echo "demo: DATA: there is no agency-1.csv in $data" >&2; exit 2; }

echo "building the programs: some minutes the first time"
(cd "$root" && cargo build --release --locked --bin server --bin client --bin datos --bin loteria) || fail "the programs do not build"

work=$(mktemp -d) || fail "no folder for temporary files"
server='' clients=''
clean() {
    : >"$work/stopping"
    for pid in $clients $server ${last:-}; do kill -TERM "$pid" 2>/dev/null; done
    wait
    rm -rf "$work"
}
trap clean EXIT
# The process that was started last may not be recorded yet.
trap 'last=$!; exit 129' HUP
trap 'last=$!; exit 130' INT
trap 'last=$!; exit 141' PIPE
trap 'last=$!; exit 143' TERM
if [ -n "${STORE:-}" ]; then
    mkdir -p "$STORE" && store=$(cd "$STORE" && pwd)/bets.csv || fail "STORE: $STORE cannot be made"
    [ ! -e "$store" ] || fail "STORE: $store is there already, and the demo starts a draw of its own; name another folder"
else
    store=$work/bets.csv
fi

# Runs a program with the project's configuration file and the demo's overrides.
configured() { # configured PROGRAM FILE
    for file in "$root/$1/$2" "$root/$2"; do
        [ ! -f "$file" ] || { echo "$file"; return; }
    done
}
server_config=$(configured server config.ini)
client_config=$(configured client config.yaml)

# The server's log comes through a pipe, so that the demo can wait for its start or end without sleeping.
mkfifo "$work/pipe" || fail "no pipe can be made in $work"
cd "$work" || exit 1
SERVER_PORT=0 BIND_ADDRESS=127.0.0.1 LOGGING_LEVEL=INFO STORAGE_PATH=$store \
    LOG_FORMAT=text LOG_BATCHES=off STATUS_ADDRESS=127.0.0.1:0 LOTTERY_AGENCIES=$agencies LOTTERY_WINNING_NUMBER=$WINNING_NUMBER \
    LOTTERY_UNNUMBERED_AGENCIES=$([ "$DIALECT" != mixed ] || [ "$agencies" -lt "$unnumbered_agency" ] || echo "$unnumbered_agency") \
    "$bin/server" ${server_config:+--config "$server_config"} >pipe 2>server.err &
server=$!
exec 3<pipe
address='' page=''
: >server.log # a server that ends at once writes no line
while [ -z "$address" ] && read -r line <&3; do
    echo "$line" >>server.log
    case $line in
        *"action: start | result: success | "*" | status: http://"*) page=${line#* | status: } page=${page%% *} ;;
        *"action: listen | result: success | address: "*) address=${line##*address: } ;;
    esac
done
[ -n "$address" ] || { cat server.log server.err >&2; fail "the server did not start"; }
echo "hub listening on $address; $agencies agencies upload $data, dialect $DIALECT"

echo "page of the draw: ${page:-none, the hub has no port for it}"

# With WATCH=1, waits for Enter before $1.
pause() {
    [ -n "$WATCH" ] || return 0
    printf 'Enter %s: ' "$1"
    read -r _
}
pause "starts the agencies"

# Runs agency $1. Without this agency there is no draw, so its failure stops the hub, and so the others.
agency() {
    client='' stopped=''
    trap 'stopped=1; [ -z "$client" ] || kill -TERM "$client" 2>/dev/null' TERM
    CLI_ID=$1 CLI_MODE=agency CLI_PROTOCOL=$(speaks "$1") CLI_SERVER_ADDRESS=$address CLI_DATA=$data/agency-$1.csv \
        CLI_LOG_LEVEL=INFO "$bin/client" ${client_config:+--config "$client_config"} >"client-$1.log" 2>&1 &
    client=$!
    # A signal may have been received before the client was known. SIGTERM would be lost where the new process still has
    # the trap of this shell.
    [ -z "$stopped" ] || kill -KILL "$client" 2>/dev/null
    wait "$client"
    code=$?
    # A signal ends the first wait early, while the client is still ending.
    [ "$code" -le 128 ] || { wait "$client"; code=$?; }
    [ "$code" -eq 0 ] || kill -TERM "$server" 2>/dev/null
    exit "$code"
}
speaks() { if [ "$DIALECT" = mixed ]; then dialect_of "$1"; else echo "$DIALECT"; fi; }

i=0
while [ "$i" -lt "$agencies" ]; do
    i=$((i + 1))
    agency "$i" &
    clients="$clients $!"
done

# Keeps the rest of the log, and says which agencies have uploaded. If the log ends before the work is done, the demo does
# not wait any longer.
tell() {
    done=0
    while read -r line; do
        echo "$line"
        case $line in
            *"action: finish | result: success | "*" | agency: "*)
                done=$((done + 1)) line=${line##* | agency: }
                echo "agency ${line%% *} has uploaded: ${line##* } bets ($done of $agencies)" >&4 ;;
        esac
    done
}
{
    tell <&3 4>&1 >>server.log
    # A shell that was just forked may lose a signal before it has set its trap.
    until [ -e stopping ]; do kill -TERM $clients 2>/dev/null; sleep 1; done
} &
copier=$!

bad=0
complain() {
    echo "demo: $1" >&2
    bad=1
}
i=0
for pid in $clients; do
    i=$((i + 1))
    wait "$pid" || { complain "agency $i ended with exit code $?:"; tail -n 5 "client-$i.log" >&2; }
done
clients=''
[ "$bad" -ne 0 ] || pause "stops the hub, and its page"
: >stopping
kill -TERM "$server" 2>/dev/null
wait "$server" || complain "the server ended with exit code $?"
server=''
wait "$copier"

draws=$(grep 'action: sorteo | result: success' server.log)
[ "$(echo "$draws" | grep -c .)" -eq 1 ] || complain "there was not exactly one draw"
printf '\n%s\n\n' "${draws:-no draw}"

# Compares the agencies' files with the stored bets and the hub's replies. `csv` names no agency: there the store is only
# checked, and the numbers below are compared.
mkdir files
i=0
while [ "$i" -lt "$agencies" ]; do i=$((i + 1)); ln -s "$data/agency-$i.csv" files/; done
[ "$DIALECT" = csv ] && against='' || against='--against files'
"$bin/loteria" verify "$store" $against >verified 2>&1 || { complain "the stored bets are not what the files say:"; cat verified >&2; }
printf '%-7s %-10s %9s %9s %8s  %s\n' agency dialect sent stored winners documents
sent_all=0 stored_all=0 winners_all=0 expected='' answered=''
i=0
while [ "$i" -lt "$agencies" ]; do
    i=$((i + 1))
    set -- $("$bin/datos" --count --number "$WINNING_NUMBER" "$data/agency-$i.csv" | sed 's/.*: bets \([0-9]*\), winners \([0-9]*\)$/\1 \2/')
    sent=${1:-0} won=${2:-unknown}
    stored=$(awk -v agency="$i" '/^files/ { exit } $1 == agency { gsub(",", "", $2); print $2 }' verified)
    winners=$(sed -n 's/.*action: consulta_ganadores | result: success | cant_ganadores: //p' "client-$i.log")
    documents=$(sed -n 's/.*action: ganador | result: success | .*dni: \([0-9]*\).*/\1/p' "client-$i.log" | paste -s -d ' ' -)
    stored=${stored:-0}
    printf '%-7s %-10s %9s %9s %8s  %s\n' "$i" "$(speaks "$i")" "$sent" "$stored" "${winners:--}" "$documents"
    expected="$expected$sent/$won
" answered="$answered$stored/${winners:--}
"
    sent_all=$((sent_all + sent)) stored_all=$((stored_all + stored)) winners_all=$((winners_all + ${winners:-0}))
done
printf '%-7s %-10s %9s %9s %8s\n\n' total '' "$sent_all" "$stored_all" "$winners_all"

if [ "$DIALECT" = csv ]; then
    echo "csv names no agency: the hub gave out the numbers as the clients connected, so only their sum is compared"
    [ "$sent_all" -eq "$stored_all" ] || complain "stored and sent differ"
    [ "$(echo "$expected" | awk -F/ '{ n += $2 } END { print n + 0 }')" -eq "$winners_all" ] || complain "the winners are not those of the files"
else
    [ "$expected" = "$answered" ] || complain "the hub's answers are not what the files say"
fi
[ "$bad" -eq 0 ] || { echo "the server's last lines:" >&2; tail -n 5 server.log >&2; exit 1; }
echo "every bet stored, one draw, every agency's winners right; the hub stopped cleanly"
