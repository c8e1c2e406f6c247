#!/bin/sh
# Runs Docker Compose on a file: `docker compose` if it is installed, else the older docker-compose.
#
#   tools/compose.sh FILE COMMAND [ARGUMENT ...]
#
# The older one does not support `name:` in a file, so it gets the name as an option and the file without that line.
#
# A published port that another program of this machine has keeps a new server from starting. `up` then changes the file, so
# that the engine chooses the port, and tries again. A server that has run before is left alone: it would be made again,
# without its bets.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "compose: '$1' is not known; see $0 -h" >&2; exit 2 ;;
esac
[ $# -ge 2 ] || { echo "compose: usage: $0 FILE COMMAND [ARGUMENT ...]" >&2; exit 2; }
file=$1
shift
[ -f "$file" ] || { echo "compose: there is no $file; tools/generar-compose.sh writes one" >&2; exit 2; }

# A signal to this script is for Compose; only `up` has something to do behind it.
exec=exec
[ "$1" != up ] || exec=

compose() {
    if docker compose version >/dev/null 2>&1; then
        $exec docker compose -f "$file" "$@"
        return
    fi
    command -v docker-compose >/dev/null || { echo "compose: neither 'docker compose' nor docker-compose is installed" >&2; return 1; }
    name=$(sed -n 's/^name: *//p' "$file")
    sed '/^name:/d' "$file" | docker-compose -p "${name:-tp0}" --project-directory "$(dirname "$file")" -f - "$@"
}

compose "$@"
code=$?
[ "$1" = up ] && [ $code -ne 0 ] && grep -q '^      - "127\.0\.0\.1:[0-9][0-9]*:9100"$' "$file" || exit $code
case $(docker inspect --format '{{.State.StartedAt}} {{.State.Error}}' server 2>/dev/null) in
    0001-*"already in use"* | 0001-*"already allocated"*) ;;
    *"already in use"* | *"already allocated"*)
        echo "compose: the status port of $file is taken, and the server has bets: free the port, or remove the containers first" >&2
        exit $code
        ;;
    *) exit $code ;;
esac
echo "compose: the status port of $file is taken: the engine chooses another one, and the file says so" >&2
sed 's/^\(      - "127\.0\.0\.1:\)[0-9][0-9]*:9100"$/\1:9100"/' "$file" >"$file.part" && cat "$file.part" >"$file" && rm "$file.part" || exit
compose "$@"
