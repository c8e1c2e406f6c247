#!/bin/sh
# Writes a compose file: the hub and N agencies on their own network.
#
#   tools/generar-compose.sh FILE [N] [agency|bet|echo] [mixed]
#   tools/generar-compose.sh --cluster N [FILE]      N hubs over three PostgreSQL nodes: see tools/generar-cluster.sh
#
# N        the number of agencies. Without it there are five, and .data/dataset.zip is unpacked if it exists
# agency   each client uploads .data/agency-I.csv, mounted alone, and queries its winners (the default)
# bet      each client sends one bet from its environment, which is written into the file
# echo     each client runs the echo loop of config.yaml
# mixed    with agency: each client speaks another dialect, all in one draw
#
# config.ini and config.yaml are mounted, never copied, so that a change needs no new compose file. Compose detects
# changes of its own file only, not of a mounted one. So the labels have the checksums of the configuration, which
# tools/preparar.sh updates, and `up -d` recreates the containers whose configuration changed. The stored bets are in
# the server's container and are deleted with it.
#
# The clients start when the server is healthy, and the hub's status is served on http://127.0.0.1:9100 of this machine.
# The variable STATUS_PORT names another port; with 0 the engine chooses one, and where it is empty, none is published.
# tools/entrega.sh switches the condition and the port off for the graders.
# Plain POSIX shell.

default_mode=agency
status=on

fail() {
    echo "generar-compose: $1" >&2
    exit 2
}

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --cluster)
        shift
        exec sh "$(dirname "$0")/generar-cluster.sh" "$@"
        ;;
    -*) fail "'$1' is not known; see $0 -h" ;;
esac
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}

[ $# -ge 1 ] && [ $# -le 4 ] || fail "usage: $0 FILE [N] [agency|bet|echo] [mixed]"
file=$1
shift
case ${1-agency} in
    agency | bet | echo | mixed) clients=5 unpack=yes ;;
    *)
        clients=$1 unpack=
        shift
        ;;
esac
[ $# -le 2 ] || fail "the last argument is '$3'; there is one too many"
mode=${1:-$default_mode} mixed=${2:-}

# `FILE N mixed` means agencies.
[ "$mode" = mixed ] && [ -z "$mixed" ] && mode=agency mixed=mixed
case $clients in
    '' | *[!0-9]* | ????*) fail "N is '$clients'; it is a number of clients, 0 to 252" ;;
esac
clients=$(expr "$clients" + 0) # 08 is eight, not a bad octal
[ "$clients" -le 252 ] || fail "N is $clients; the network 172.25.125.0/24 has room for the server and 252 clients"
case $mode in
    agency | bet | echo) ;;
    *) fail "the mode is '$mode'; it is agency, bet or echo" ;;
esac
case $mixed in
    '') ;;
    mixed) [ "$mode" = agency ] || fail "only agencies can be mixed: dialects differ in how they upload, not in '$mode'" ;;
    *) fail "the last argument is '$mixed'; it is mixed, or absent" ;;
esac
[ ! -d "$file" ] || fail "$file is a folder; name the file to write"
port=${STATUS_PORT-9100}
case $port in
    *[!0-9]* | ??????*) fail "STATUS_PORT is '$port'; it is a port of this machine, 0 for any, or empty for none" ;;
esac
[ "${port:-0}" -le 65535 ] || fail "STATUS_PORT is $port; ports end at 65535"

. "$here/dialecto.sh"
folder=$(cd "$(dirname "$file")" 2>/dev/null && pwd) || fail "the folder of $file does not exist"

[ -z "$unpack" ] || sh "$here/desempacar.sh" || exit

. "$here/montajes.sh"

# The environment of the bet of client $1: five people, then the same ones with other documents and numbers.
bet() {
    case $((($1 - 1) % 5)) in
        0) set -- "$1" "Santiago Lionel" "Lorca" 30904465 1999-03-17 7574 ;;
        1) set -- "$1" "María Inés" "Güemes" 27145382 1979-11-02 2201 ;;
        2) set -- "$1" "Joaquín" "Núñez" 41220917 1998-06-25 314 ;;
        3) set -- "$1" "Delfina" "D'Angelo" 35668014 1990-12-30 9833 ;;
        4) set -- "$1" "Ñusta Belén" "Quispe" 44902576 2003-08-08 5120 ;;
    esac
    again=$((($1 - 1) / 5))
    cat <<EOF
      NOMBRE: "$2"
      APELLIDO: "$3"
      DOCUMENTO: "$(($4 + again))"
      NACIMIENTO: "$5"
      NUMERO: "$((($6 + again) % 10000))"
EOF
}

# What the server has where its status is wanted. The image has the check itself; the clients wait for its first success, so
# it is asked each second, where the image's own interval would delay them. (`start_interval` is for this, but older
# engines and the older docker-compose refuse files that have it. A check costs some 30 ms of processor time.) Where the
# host port is left out, the engine chooses it.
published() {
    if [ -n "$port" ]; then
        [ "$port" -gt 0 ] || port=
        cat <<EOF
      STATUS_ADDRESS: 0.0.0.0:9100
    ports:
      - "127.0.0.1:$port:9100"
EOF
    fi
    cat <<EOF
    healthcheck:
      interval: 1s
EOF
}

server() {
    cat <<EOF
  server:
    container_name: server
    image: server:latest
    user: "$owner"
    labels:
      loteria.config.ini: "$(sum "$root/$server_config")"
    environment:
      LOTTERY_AGENCIES: "$clients"
EOF
    [ -n "$mixed" ] && [ "$clients" -ge "$unnumbered_agency" ] &&
        echo "      LOTTERY_UNNUMBERED_AGENCIES: \"$unnumbered_agency\""
    [ "$status" = on ] && published
    echo "    volumes:"
    mount "$server_config" /loteria/config.ini
    echo "    networks:"
    echo "      - testing_net"
}

client() {
    cat <<EOF

  client$1:
    container_name: client$1
    image: client:latest
    user: "$owner"
    labels:
      loteria.config.yaml: "$(sum "$root/$client_config")"
    environment:
      CLI_ID: "$1"
      CLI_MODE: $mode
      CLI_LINGER: 2s
EOF
    [ -n "$mixed" ] && echo "      CLI_PROTOCOL: $(dialect_of "$1")"
    [ "$mode" = bet ] && bet "$1"
    echo "    volumes:"
    mount "$client_config" /loteria/config.yaml
    [ "$mode" = agency ] && mount ".data/agency-$1.csv" "/loteria/.data/agency-$1.csv"
    cat <<EOF
    networks:
      - testing_net
    depends_on:
EOF
    if [ "$status" = on ]; then
        echo "      server:"
        echo "        condition: service_healthy"
    else
        echo "      - server"
    fi
}

missing=0 first=
i=1
while [ "$mode" = agency ] && [ "$i" -le "$clients" ]; do
    [ -f "$root/.data/agency-$i.csv" ] || { missing=$((missing + 1)) first=${first:-agency-$i.csv}; }
    i=$((i + 1))
done
[ "$missing" -eq 0 ] ||
    echo "generar-compose: .data lacks $missing of the $clients files, from $first on: put them there before the start, or make some: cargo run --release --bin datos -- --help" >&2

compose() {
    cat <<EOF
# Written by generar-compose.sh: $clients clients, mode $mode${mixed:+, mixed dialects}.
name: tp0
services:
EOF
    server
    i=1
    while [ "$i" -le "$clients" ]; do
        client "$i"
        i=$((i + 1))
    done
    cat <<EOF

networks:
  testing_net:
    ipam:
      driver: default
      config:
        - subnet: 172.25.125.0/24
EOF
}

compose >"$file.part" && mv -f "$file.part" "$file" || { rm -f "$file.part"; echo "generar-compose: $file cannot be written" >&2; exit 1; }
