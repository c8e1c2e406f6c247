#!/bin/sh
# Prepares `make docker-compose-up`: unpacks .data/dataset.zip if it exists, and writes the compose file for as many
# agencies as there are files.
#
#   tools/preparar.sh FILE        an existing FILE is not changed, except for the checksums in its labels

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "preparar: '$1' is not known; see $0 -h" >&2; exit 2 ;;
esac
[ $# -eq 1 ] || { echo "preparar: usage: $0 FILE" >&2; exit 2; }
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}
data=$root/.data

sh "$here/desempacar.sh" || exit

agencies=0
while [ -f "$data/agency-$((agencies + 1)).csv" ]; do agencies=$((agencies + 1)); done
if [ -f "$1" ]; then
    uploads=$(grep -c '^      CLI_MODE: agency$' "$1")
    [ "$uploads" -eq 0 ] || [ "$uploads" -eq "$agencies" ] ||
        echo "preparar: $1 has $uploads agencies, .data has files of $agencies; remove $1 to have it written again" >&2
    # The labels have the checksums of the configuration: see generar-compose.sh.
    grep -q '^      loteria\.config\.' "$1" ||
        echo "preparar: $1 has no loteria.config labels: its containers are not created again when their configuration changes" >&2
    . "$here/sumas.sh"
    for name in config.ini config.yaml; do
        for config in "$root/$name" "$root/server/$name" "$root/client/$name"; do
            [ -f "$config" ] || continue
            sed "s/^\\(      loteria\\.$name: \\).*/\\1\"$(sum "$config")\"/" "$1" >"$1.part" || exit 1
            if cmp -s "$1.part" "$1"; then rm -f "$1.part"; else 
                # Overwritten in place, so that its mode stays, and a link stays a link.
                { cat "$1.part" >"$1" && rm -f "$1.part"; } || exit 1
            fi
        done
    done
    exit 0
fi
[ "$agencies" -gt 0 ] || {
    echo "preparar: no $data/agency-1.csv, and no dataset.zip to unpack; 'cargo run --release --bin datos -- --help' makes files" >&2
    exit 1
}
sh "$here/generar-compose.sh" "$1" "$agencies" && echo "preparar: wrote $1 for $agencies agencies"
