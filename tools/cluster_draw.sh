# Sourced by demo_cluster.sh and run_cluster_test.sh: one draw of several hubs while something of the cluster fails. How far the
# agencies are, and whether the draw is exact.
#
# The scripts have $BETS and $WINNING_NUMBER; `asked SQL`, which prints what the leader answers; `tell`, which prints what the
# programs have said. The working directory is a temporary folder with data/agency-I.csv, made by `make_bets`, and client-I.log.

name=${0##*/} name=${name%.sh}
fail() {
    echo "$name: $1" >&2
    exit "${2:-1}"
}
for setting in "BETS $BETS" "WINNING_NUMBER $WINNING_NUMBER"; do
    case ${setting#* } in '' | *[!0-9]*) fail "${setting% *} is '${setting#* }'; it is a number" 2 ;; esac
done
agencies=5 seconds_max=120

say() { printf '%3d s  %s\n' $(($(date +%s) - began)) "$1"; }

make_bets() { # HOW datos IS RUN
    "$@" --out data --agencies "$agencies" --bets "$BETS" --winners 2,3,1,4,0 --number "$WINNING_NUMBER" >/dev/null
}

# Waits until a command succeeds.
until_done() {
    end=$(($(date +%s) + seconds_max))
    until "$@"; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# Waits until so many hundredths of the bets are stored: how many are.
stored() {
    bets=$(asked 'SELECT coalesce(sum(bets), 0)::bigint FROM loteria.agencies WHERE draw = 1')
    [ "${bets:-0}" -ge $((agencies * BETS * $1 / 100)) ]
}
reach() {
    until_done stored "$1" || { tell >&2; fail "the upload does not get on"; }
    [ "$bets" -lt $((agencies * BETS)) ] || fail "the upload was over before anything could fail: BETS is too small for this machine"
}

bad=0
complain() {
    echo "$name: $1" >&2
    bad=1
}

# Compares every row and every winner with the agencies' files. The rows are read with psql, not by a hub. A batch ends with a
# line end, and psql writes another.
compare() {
    draw=$(asked "SELECT count(*) || ' draw, on number ' || min(winning_number) || ', over ' || min(bets) || ' bets, at ' || min(drawn_at) FROM loteria.draws WHERE drawn_at IS NOT NULL")
    case $draw in "1 draw, on number $WINNING_NUMBER, over $((agencies * BETS)) bets, "*) ;; *) complain "that is not the draw of these bets: ${draw:-none}" ;; esac
    held=$(asked 'SELECT held FROM loteria.draws WHERE held IS NOT NULL')
    [ -z "$held" ] || complain "a hub holds the draw: $held"
    printf '%-7s %9s %9s %8s  %s\n' agency sent stored winners documents
    i=0
    while [ "$i" -lt "$agencies" ]; do
        i=$((i + 1))
        asked "SELECT rows FROM loteria.batches WHERE draw = 1 AND agency = $i ORDER BY batch" | grep -v '^$' >rows
        sed "s/^/$i,/" "data/agency-$i.csv" | cmp -s - rows || complain "agency $i: the stored rows are not those of its file"
        documents=$(sed -n 's/.*action: ganador | result: success | .*dni: \([0-9]*\).*/\1/p' "client-$i.log" | sort)
        expected=$(awk -F, -v number="$WINNING_NUMBER" '$5 + 0 == number { print $3 }' "data/agency-$i.csv" | sort)
        [ "$documents" = "$expected" ] || complain "agency $i: the winners that it was told are not those of its file"
        printf '%-7s %9s %9s %8s  %s\n' "$i" "$BETS" "$(grep -c '' rows)" "$(echo "$documents" | grep -c .)" "$(echo $documents)"
    done
    printf '\n%s\n' "${draw:-no draw}"
}
