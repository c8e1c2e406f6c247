#!/bin/sh
# One draw by the containers of `make docker-cluster-up`, with failures in mid-upload: the leader's container is killed, Patroni has
# another node lead, then a hub's container is killed; both come back. At the end every row and every winner is compared, and
# each hub has to show the whole draw.
#
#   tools/run_cluster_test.sh    BETS=1000000    bets of each of the five agencies; fewer may be uploaded before anything fails
#
# Needs Docker with Compose; without, it says so and exits with 0. The images are built before. The containers and what they stored
# are removed at the end. Exits with 0 only if nothing was lost, doubled or changed.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    ?*) echo "run_cluster_test: '$1' is not known; settings are variables, see $0 -h" >&2; exit 2 ;;
esac

# The number is the hubs' default.
BETS=${BETS:-1000000} WINNING_NUMBER=7574
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}
. "$here/cluster_draw.sh"

skip() {
    echo "docker-cluster-test: SKIPPED, $1"
    exit 0
}
docker info >/dev/null 2>&1 || skip "no Docker engine answers here"
docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null || skip "'docker compose' is not installed here"
for base in $(sed -n 's/^FROM \([^ ]*:[^ ]*\) .*/\1/p' "$root"/Dockerfile "$root"/*/Dockerfile "$here/cluster/Dockerfile" 2>/dev/null | sort -u); do
    docker image inspect "$base" >/dev/null 2>&1 || docker pull -q "$base" >/dev/null 2>&1 || skip "the image $base is not here and cannot be pulled"
done
[ -z "$(docker ps --all --quiet --filter label=com.docker.compose.project=loteria-cluster)" ] ||
    fail "the containers of a cluster are there already; 'make docker-cluster-down' removes them"

work=$(mktemp -d) && cd "$work" || fail "no folder for temporary files"
file=$work/compose.yaml
compose() { sh "$here/compose.sh" "$file" "$@" 2>>compose.log; }
clean() {
    [ ! -f "$file" ] || compose down --volumes --remove-orphans -t 5
    cd / && rm -rf "$work"
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

container() { compose ps --all --quiet "$1"; }
# Asks node $1, if it leads.
ask() {
    docker exec "$(cat "pg$1")" sh -c 'PGPASSWORD=$(cat /secrets/postgres) exec psql -XqAt -v ON_ERROR_STOP=1 "$@"' psql -c "$2" \
        'host=127.0.0.1 user=postgres dbname=loteria target_session_attrs=read-write' 2>>psql.log
}
# What the leader says, or nothing while there is none.
asked() { ask "$leader" "$1"; }
another_leads() {
    for node in 1 2 3; do
        [ "$node" = "${old-}" ] || [ "$(ask "$node" 'SELECT 1')" != 1 ] || { leader=$node; return; }
    done
    return 1
}
# Some versions of Compose begin every line with a code that clears it, even in a file.
tell() { compose logs --no-color --tail 5 | sed "s/$(printf '\033')\[[0-9;]*[A-Za-z]//g"; }

echo "building the images: some minutes the first time"
make -s -C "$root" docker-image >build.log 2>&1 || { tail -n 20 build.log >&2; fail "the images do not build"; }
# The program that makes bets is in no image of the cluster, but where they are compiled.
make_bets docker run --rm --network none --user "$(id -u):$(id -g)" --mount "type=bind,source=$work,target=/work" --workdir /work \
    loteria-programs:latest /build/target/docker/datos || fail "the agencies' files cannot be made"

began=$(date +%s)
# The agencies start when all else runs: their upload takes seconds.
make -s -C "$root" docker-cluster-up CLUSTER_FILE="$file" DATA="$work/data" SERVICES=haproxy >up.log 2>&1 ||
    { tail -n 20 up.log >&2; tell >&2; fail "make docker-cluster-up failed"; }
hubs=$(sed -n 's/^  \(hub[0-9]*\):$/\1/p' "$file")
for node in 1 2 3; do container "pg$node" >"pg$node"; done
another_leads || { tell >&2; fail "no node leads"; }
say "$(echo "$hubs" | grep -c .) hubs run, pg$leader leads; $agencies agencies upload $BETS bets each"
compose up -d || fail "the agencies do not start"

reach 20
compose kill "pg$leader" || fail "pg$leader cannot be killed"
say "$bets bets are stored; the container of pg$leader, the leader, is killed"
old=$leader
until_done another_leads || { tell >&2; fail "no other node leads"; }
say "pg$leader leads"
compose start "pg$old" || fail "pg$old does not start again"
reach 60
compose kill hub1 || fail "hub1 cannot be killed"
say "$bets bets are stored; the container of hub1 is killed"

# Waits until a container ends by itself: its exit code.
exit_code() { # SERVICE
    ended=$(container "$1")
    until_done has_ended "$ended" && docker inspect --format '{{.State.ExitCode}}' "$ended"
}
has_ended() { [ "$(docker inspect --format '{{.State.Status}}' "$1")" = exited ]; }
i=0
while [ "$i" -lt "$agencies" ]; do
    i=$((i + 1))
    code=$(exit_code "client$i")
    docker logs "$(container "client$i")" >"client-$i.log" 2>&1
    [ "$code" = 0 ] || { complain "agency $i ended with exit code ${code:-none within $seconds_max s}:"; tail -n 5 "client-$i.log" >&2; }
done
say "every agency has its winners; stored rows are compared with the agencies' files"
compare

# All that was killed comes back, and each hub knows the whole draw.
compose start hub1 || complain "hub1 does not start again"
whole() { [ "$(asked "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" = 2 ]; }
until_done whole || complain "the nodes are not one leader with two standbys again"
shows_the_draw() { # HUB
    compose exec -T "$1" loteria status --json </dev/null | tr -d ' \n' >status
    grep -q '"draw":{"state":"drawn"' status && grep -q "\"bets_stored\":$((agencies * BETS))," status &&
        [ "$(grep -o "\"state\":\"finished\",\"bets\":$BETS," status | grep -c .)" = "$agencies" ]
}
for hub in $hubs; do
    until_done shows_the_draw "$hub" || { complain "the status of $hub is not that of the whole draw:"; cat status >&2; }
done
docker cp data "$(container hub1)":/loteria/data >/dev/null && compose exec -T hub1 loteria verify --against data </dev/null >verify 2>&1 ||
    { complain "'loteria verify' finds a difference:"; tail -n 5 verify >&2; }
compose exec -T hub1 loteria winners --stored --csv </dev/null | tr -d '\r' | cut -d , -f 4 | sed 1d | sort >winners
cat data/agency-*.csv | awk -F, -v number="$WINNING_NUMBER" '$5 + 0 == number { print $3 }' | sort | cmp -s - winners ||
    complain "the winners of 'loteria winners' are not those of the agencies' files"
say "the nodes are three again; the status of each hub, loteria verify and winners are compared, too"

compose stop -t 10 $hubs
for hub in $hubs; do
    code=$(exit_code "$hub")
    [ "$code" = 0 ] || complain "$hub ended with exit code ${code:-none}"
done
[ "$bad" -eq 0 ] || { tell >&2; exit 1; }
say "nothing lost, nothing twice, one draw"
