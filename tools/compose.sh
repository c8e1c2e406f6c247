#!/bin/sh
# Runs Docker Compose on a file: `docker compose` if it is installed, else the older docker-compose.
#
#   tools/compose.sh FILE COMMAND [ARGUMENT ...]
#
# The older one does not support `name:` in a file, so it gets the name as an option and the file without that line.

[ $# -ge 2 ] || { echo "compose: usage: $0 FILE COMMAND [ARGUMENT ...]" >&2; exit 2; }
file=$1
shift
[ -f "$file" ] || { echo "compose: there is no $file; tools/generar-compose.sh writes one" >&2; exit 2; }

if docker compose version >/dev/null 2>&1; then
    exec docker compose -f "$file" "$@"
fi
command -v docker-compose >/dev/null || { echo "compose: neither 'docker compose' nor docker-compose is installed" >&2; exit 1; }
name=$(sed -n 's/^name: *//p' "$file")
sed '/^name:/d' "$file" | docker-compose -p "${name:-tp0}" --project-directory "$(dirname "$file")" -f - "$@"
