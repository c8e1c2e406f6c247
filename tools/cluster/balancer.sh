#!/bin/sh
# haproxy in front of hubs: what the balancer's container runs, and the configuration of it for others.
#
#   HUBS='hub1:12345 hub2:12345' balancer.sh              serves on port 12345
#   balancer.sh --print ADDRESS INTERVAL HUB...           prints the configuration: where it listens, how often it asks
#                                                         whether a hub listens, the hubs' addresses with ports

configuration() { # ADDRESS INTERVAL HUB...
    cat <<END
global
    # Two programs on one port would share its connections.
    noreuseport

defaults
    mode tcp
    timeout connect 2s
    # A query is parked until the draw, for hours perhaps.
    timeout client 24h
    timeout server 24h
    timeout tunnel 24h
    option clitcpka
    option redispatch 1
    retries 5

listen hubs
    bind $1
    balance leastconn
END
    interval=$2
    shift 2
    n=0
    for hub; do
        n=$((n + 1))
        echo "    server hub$n $hub check inter $interval fall 2 rise 1 send-proxy-v2"
    done
}

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --print) shift; configuration "$@"; exit ;;
esac
# shellcheck disable=SC2086 # a word each
configuration 0.0.0.0:12345 1s $HUBS >/tmp/haproxy.cfg
exec haproxy -db -f /tmp/haproxy.cfg
