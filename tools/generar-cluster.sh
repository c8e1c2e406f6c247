#!/bin/sh
# Writes a compose file with several hubs: three PostgreSQL nodes under Patroni and etcd, N hubs, haproxy, and the agencies.
#
#   tools/generar-cluster.sh N [FILE]      or  tools/generar-compose.sh --cluster N [FILE]
#
# N        the number of hubs, 1 to 50
# FILE     what is written (default docker-compose-cluster.yaml)
# DATA     a variable: the folder of the agencies' files (default .data, where dataset.zip is unpacked before if it exists)
#
# There is an agency for each agency-I.csv. It connects to haproxy, which gives it a hub. Addresses are fixed, because a hub
# looks up no names while it runs. The status of each hub is published on a port of this machine that the engine chooses.
# Certificates and passwords are made at the first start, into a volume. tools/cluster has what runs in the nodes' and the
# balancer's containers. `make docker-cluster-up` makes the images, writes the file and starts it. Plain POSIX shell.

fail() {
    echo "generar-cluster: $1" >&2
    exit 2
}

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) fail "'$1' is not known; see $0 -h" ;;
esac
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}

[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: $0 N [FILE]"
case $1 in
    '' | *[!0-9]* | ???*) fail "N is '$1'; it is a number of hubs, 1 to 50" ;;
esac
hubs=$(expr "$1" + 0) # 08 is eight, not a bad octal
[ "$hubs" -ge 1 ] && [ "$hubs" -le 50 ] || fail "N is $hubs; it is a number of hubs, 1 to 50"
file=${2:-docker-compose-cluster.yaml}
[ ! -d "$file" ] || fail "$file is a folder; name the file to write"
folder=$(cd "$(dirname "$file")" 2>/dev/null && pwd) || fail "the folder of $file does not exist"

if [ -n "${DATA-}" ]; then
    data=$(cd "$DATA" 2>/dev/null && pwd) || fail "DATA is '$DATA'; it is the folder of the agencies' files"
else
    sh "$here/desempacar.sh" || exit
    data=.data
fi
agencies=0
while (cd "$root" && [ -f "$data/agency-$((agencies + 1)).csv" ]); do agencies=$((agencies + 1)); done
[ "$agencies" -gt 0 ] || fail "there is no agency-1.csv in $data; 'cargo run --release --bin datos -- --help' makes files"
[ "$agencies" -le 120 ] || fail "$data has files of $agencies agencies; the network has room for 120"

. "$here/montajes.sh"

# The first addresses are given here, the engine gives those from 128 on.
net=172.25.126
peers=pg1=$net.11,pg2=$net.12,pg3=$net.13
each() { # FIRST LAST
    i=$1
    while [ "$i" -le "$2" ]; do
        echo "$i"
        i=$((i + 1))
    done
}

address() {
    cat <<EOF
    networks:
      cluster_net:
        ipv4_address: $net.$1
EOF
}

# Runs once. Whatever needs it waits for its end.
once() { # NAME ACCESS
    cat <<EOF
  $1:
    image: loteria-node:latest
    command: $1
    environment:
      PEERS: $peers
    volumes:
      - secrets:/secrets$2
    networks:
      - cluster_net
EOF
}

node() {
    cat <<EOF

  pg$1:
    image: loteria-node:latest
    init: true
    stop_grace_period: 20s
    environment:
      NAME: pg$1
      ADDRESS: $net.1$1
      PEERS: $peers
    volumes:
      - secrets:/secrets:ro
      - pg$1:/var/lib/cluster
    depends_on:
      secrets:
        condition: service_completed_successfully
EOF
    address "1$1"
}

# The environment goes before the file: what is the same in a hub alone is in the project's configuration.
hub() {
    cat <<EOF

  hub$1:
    image: server:latest
    hostname: hub$1
    user: "$owner"
    labels:
      loteria.config.ini: "$(sum "$root/$server_config")"
    environment:
      PROXY_FROM: $net.2
      LOTTERY_AGENCIES: "$agencies"
      LIMITS_DIALECTS: native,binary,text,key-value,case-id
      STORAGE_ENGINE: postgres
      POSTGRES_HOSTS: $net.11:5432,$net.12:5432,$net.13:5432
      POSTGRES_PASSWORD_FILE: /secrets/loteria
      POSTGRES_CA: /secrets/ca.crt
      STATUS_ADDRESS: 0.0.0.0:9100
      STATUS_SOCKET: /loteria/status.sock
    ports:
      - "127.0.0.1::9100"
    healthcheck:
      interval: 1s
    volumes:
      - secrets:/secrets:ro
EOF
    mount "$server_config" /loteria/config.ini
    cat <<EOF
    depends_on:
      schema:
        condition: service_completed_successfully
EOF
    address $((20 + $1))
}

balancer() {
    cat <<EOF

  haproxy:
    image: loteria-balancer:latest
    environment:
      HUBS: $(each 1 "$hubs" | awk -v net="$net" '{ printf "%s%s.%d:12345", sep, net, 20 + $1; sep = " " }')
    depends_on:
EOF
    for hub in $(each 1 "$hubs"); do
        cat <<EOF
      hub$hub:
        condition: service_healthy
EOF
    done
    address 2
}

agency() {
    cat <<EOF

  client$1:
    image: client:latest
    user: "$owner"
    labels:
      loteria.config.yaml: "$(sum "$root/$client_config")"
    environment:
      CLI_ID: "$1"
      CLI_MODE: agency
      CLI_SERVER_ADDRESS: $net.2:12345
      CLI_LINGER: 2s
    volumes:
EOF
    mount "$client_config" /loteria/config.yaml
    mount "$data/agency-$1.csv" "/loteria/.data/agency-$1.csv"
    cat <<EOF
    networks:
      - cluster_net
    depends_on:
      - haproxy
EOF
}

compose() {
    cat <<EOF
# Written by generar-cluster.sh: $hubs hubs, $agencies agencies.
name: loteria-cluster
services:
EOF
    once secrets ''
    echo
    once schema :ro
    cat <<EOF
    depends_on:
      - pg1
      - pg2
      - pg3
EOF
    for n in 1 2 3; do node "$n"; done
    for n in $(each 1 "$hubs"); do hub "$n"; done
    balancer
    for n in $(each 1 "$agencies"); do agency "$n"; done
    cat <<EOF

volumes:
  secrets:
  pg1:
  pg2:
  pg3:

networks:
  cluster_net:
    ipam:
      driver: default
      config:
        - subnet: $net.0/24
          ip_range: $net.128/25
EOF
}

compose >"$file.part" && mv -f "$file.part" "$file" || { rm -f "$file.part"; echo "generar-cluster: $file cannot be written" >&2; exit 1; }
