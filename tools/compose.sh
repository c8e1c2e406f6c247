#!/bin/sh
# Runs Docker Compose on a file: `docker compose` where it is installed, else the older docker-compose.
#
#   tools/compose.sh FILE COMMAND [ARGUMENT ...]
#
# The older one knows no `name:` in a file, so it gets the name as an option and the file without that line.
#
# Compose sees a change of its own file, and none of the files that are mounted: a server would go on with the
# configuration that it was started with. So checksums of these are put into labels, which the file takes from the
# environment, and `up -d` makes those containers again whose configuration changed.

[ $# -ge 2 ] || { echo "compose: usage: $0 FILE COMMAND [ARGUMENT ...]" >&2; exit 2; }
file=$1
shift
[ -f "$file" ] || { echo "compose: there is no $file; tools/generar-compose.sh writes one" >&2; exit 2; }

# The checksum of the file that is mounted as $1; nothing where there is none.
sum_of() {
    mounted=$(awk -v target="$1" '
        $1 == "source:" { source = $0; sub(/^[^"]*"/, "", source); sub(/"[^"]*$/, "", source) }
        $1 == "target:" && $2 == "\"" target "\"" { print source; exit }
    ' "$file")
    case $mounted in
        '') return ;;
        /*) ;;
        *) mounted=$(dirname "$file")/$mounted ;;
    esac
    cksum <"$mounted" 2>/dev/null | tr ' ' -
}
CONFIG_INI_SUM=$(sum_of /loteria/config.ini) CONFIG_YAML_SUM=$(sum_of /loteria/config.yaml)
export CONFIG_INI_SUM CONFIG_YAML_SUM

if docker compose version >/dev/null 2>&1; then
    exec docker compose -f "$file" "$@"
fi
command -v docker-compose >/dev/null || { echo "compose: neither 'docker compose' nor docker-compose is installed" >&2; exit 1; }
name=$(sed -n 's/^name: *//p' "$file")
sed '/^name:/d' "$file" | docker-compose -p "${name:-tp0}" --project-directory "$(dirname "$file")" -f - "$@"
