#!/bin/bash
# What a container of a node runs:
#
#   node.sh           etcd and Patroni; the container ends when either does. NAME, ADDRESS and PEERS (name=address,...) say which node it is
#   node.sh secrets   once, before all nodes: an authority, a certificate for the addresses in PEERS, and passwords, in /secrets
#   node.sh schema    once, when a standby follows: the role and the database loteria, and the schema in it
set -euo pipefail

addresses=$(echo "$PEERS" | tr ',' '\n' | cut -d = -f 2)

secrets() {
    [ ! -e /secrets/loteria ] || return 0
    cd /secrets
    umask 077
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj '/CN=loteria cluster' -keyout /tmp/ca.key -out ca.crt
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=node' -keyout server.key -out /tmp/server.csr
    echo "subjectAltName=$(echo "$addresses" | sed 's/^/IP:/' | paste -s -d ,)" |
        openssl x509 -req -in /tmp/server.csr -CA ca.crt -CAkey /tmp/ca.key -CAcreateserial -days 825 -extfile /dev/stdin -out server.crt
    rm /tmp/ca.key
    for role in postgres replicator loteria; do openssl rand -hex 16 >"$role.part"; done
    # The hub's user is another one.
    chmod 644 ca.crt server.crt loteria.part
    for role in postgres replicator loteria; do mv "$role.part" "$role"; done
}

schema() {
    PGPASSWORD=$(cat /secrets/postgres)
    export PGPASSWORD PGSSLMODE=verify-full PGSSLROOTCERT=/secrets/ca.crt PGUSER=postgres PGCONNECT_TIMEOUT=3 PGTARGETSESSIONATTRS=read-write
    PGHOST=$(echo "$addresses" | paste -s -d ,)
    export PGHOST
    ask() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
    # A leader of the first seconds has no standby, and Patroni has not yet set which ones its commits wait for: hubs refuse it.
    SECONDS=0
    until [ "$(ask -c "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state IN ('quorum', 'sync')" postgres 2>&1 | tee /tmp/said)" = t ]; do
        [ "$SECONDS" -lt 120 ] || { echo "node.sh: no leader with a standby within $SECONDS s: $(cat /tmp/said)" >&2; exit 1; }
        sleep 1
    done
    [ "$(ask -c "SELECT count(*) FROM pg_roles WHERE rolname = 'loteria'" postgres)" = 1 ] ||
        ask -c "CREATE ROLE loteria LOGIN PASSWORD '$(cat /secrets/loteria)'" postgres
    [ "$(ask -c "SELECT count(*) FROM pg_database WHERE datname = 'loteria'" postgres)" = 1 ] || ask -c 'CREATE DATABASE loteria' postgres
    [ "$(ask -c "SELECT count(*) FROM pg_namespace WHERE nspname = 'loteria'" loteria)" = 1 ] || loteria-server --schema | ask -1 loteria
}

node() {
    hosts=$(echo "$addresses" | sed 's/$/:2379/' | paste -s -d ,)
    etcd --name "$NAME" --data-dir /var/lib/cluster/etcd --initial-cluster-token loteria --initial-cluster "$(echo "$PEERS" | sed 's/=/=http:\/\//g; s/,/:2380,/g; s/$/:2380/')" \
        --listen-peer-urls http://0.0.0.0:2380 --initial-advertise-peer-urls "http://$ADDRESS:2380" \
        --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls "http://$ADDRESS:2379" --auto-compaction-retention=1h --log-level warn &
    etcd=$!
    export PATRONI_NAME=$NAME PATRONI_ETCD3_HOSTS=$hosts
    export PATRONI_RESTAPI_CONNECT_ADDRESS=$ADDRESS:8008 PATRONI_POSTGRESQL_CONNECT_ADDRESS=$ADDRESS:5432
    export PATRONI_SUPERUSER_USERNAME=postgres PATRONI_REPLICATION_USERNAME=replicator
    PATRONI_SUPERUSER_PASSWORD=$(cat /secrets/postgres) PATRONI_REPLICATION_PASSWORD=$(cat /secrets/replicator)
    export PATRONI_SUPERUSER_PASSWORD PATRONI_REPLICATION_PASSWORD
    patroni /cluster/patroni.yml &
    patroni=$!
    # Patroni gives up its lease while etcd is still there.
    trap 'kill "$patroni" 2>/dev/null || :' TERM INT
    wait -n || :
    kill "$patroni" 2>/dev/null || :
    wait "$patroni" || :
    kill "$etcd" 2>/dev/null || :
    wait
}

case ${1-node} in
    node | secrets | schema) "${1-node}" ;;
    *) echo "node.sh: '$1' is not known" >&2; exit 2 ;;
esac
