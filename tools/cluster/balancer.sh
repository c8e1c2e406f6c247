#!/bin/sh
# What the balancer's container runs: haproxy in front of HUBS (addresses with ports, separated by spaces), on port 12345.
{
    cat <<END
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
    bind 0.0.0.0:12345
    balance leastconn
END
    n=0
    for hub in $HUBS; do
        n=$((n + 1))
        echo "    server hub$n $hub check inter 1s fall 2 rise 1 send-proxy-v2"
    done
} >/tmp/haproxy.cfg
exec haproxy -db -f /tmp/haproxy.cfg
