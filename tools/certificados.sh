#!/bin/sh
# Makes a test authority and certificates for the hub and its agencies, with openssl.
#
#   tools/certificados.sh [-n AGENCIES] [-s NAME[,NAME...]] [-w] [DIR]
#
#   -n  how many agencies (default 5): agency-1 to agency-N
#   -s  the hub's names and addresses (default server,localhost,127.0.0.1,::1)
#   -w  also certificates that a hub or a client must refuse, for tests
#   DIR the output folder (default .tls). An existing authority is used again, so that agencies can be added.
#
# For tests only: the holder of ca.key can act as any agency.

set -eu

agencies=5
names=server,localhost,127.0.0.1,::1
wrong=no
days=825

fail() {
    echo "certificados.sh: $1" >&2
    exit 2
}

case ${1-} in
    --help) set -- -h ;;
    --*) fail "'$1' is not known; see $0 -h" ;;
esac
while getopts :n:s:wh option; do
    case $option in
        n) agencies=$OPTARG ;;
        s) names=$OPTARG ;;
        w) wrong=yes ;;
        h) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        :) fail "-$OPTARG needs a value; see $0 -h" ;;
        *) fail "'-$OPTARG' is not known; see $0 -h" ;;
    esac
done
shift $((OPTIND - 1))
[ $# -le 1 ] || fail "'$2' is one too many; see $0 -h"
dir=${1:-.tls}

case $agencies in
    '' | *[!0-9]*) fail "-n $agencies: must be a number of agencies" ;;
esac
[ -n "$(echo "$names" | tr -d ', ')" ] || fail "-s '$names': must be a name or an address, or several with commas"
command -v openssl >/dev/null || fail "openssl is not installed"

umask 077
mkdir -p "$dir"
unset CDPATH # `cd` would look there
cd "$dir"

# The configuration of openssl: the kinds of certificates, and the database of `openssl ca`, which is needed to
# make an expired certificate.
config=$(mktemp)
books=$(mktemp -d)
trap 'rm -rf "$config" "$books"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
{
    cat <<END
[req]
distinguished_name = subject
prompt = no
[subject]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = @names
[ca]
default_ca = books
[books]
database = $books/index
rand_serial = yes
new_certs_dir = $books
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[names]
END
    echo "$names" | tr ',' '\n' | awk '
        /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/ || /:/ { printf "IP.%d = %s\n", ++ip, $0; next }
        NF { printf "DNS.%d = %s\n", ++dns, $0 }'
} >"$config"
: >"$books/index"

key() { # name
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null
}

authority() { # name, common name
    key "$1"
    openssl req -new -x509 -config "$config" -extensions authority -key "$1.key" -subj "/CN=$2" -days 3650 -out "$1.crt"
}

certificate() { # name, common name, kind, authority
    key "$1"
    openssl req -new -config "$config" -key "$1.key" -subj "/CN=$2" |
        openssl x509 -req -CA "$4.crt" -CAkey "$4.key" -CAcreateserial -days "$days" -sha256 \
            -extfile "$config" -extensions "$3" -out "$1.crt" 2>/dev/null
    rm -f "$4.srl"
}

expired() { # name, common name, kind, authority
    key "$1"
    openssl req -new -config "$config" -key "$1.key" -subj "/CN=$2" -out "$books/request"
    openssl ca -batch -notext -config "$config" -cert "$4.crt" -keyfile "$4.key" -extensions "$3" \
        -startdate 20200101000000Z -enddate 20210101000000Z -in "$books/request" -out "$1.crt" 2>/dev/null
}

[ -f ca.key ] || authority ca "Loteria test authority"
certificate server server server ca
agency=1
while [ "$agency" -le "$agencies" ]; do
    certificate "agency-$agency" "agency-$agency" client ca
    agency=$((agency + 1))
done

if [ "$wrong" = yes ]; then
    authority other-ca "Another authority"
    certificate untrusted agency-1 client other-ca
    certificate impostor server server other-ca
    certificate no-agency visitor client ca
    expired expired agency-1 client ca
    expired expired-server server server ca
fi

echo "certificates of the hub and of $agencies agencies are in $PWD"
