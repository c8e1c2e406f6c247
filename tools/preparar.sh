#!/bin/sh
# Makes what `make docker-compose-up` needs and does not find: the agencies' files, unpacked from
# .data/dataset.zip, and the compose file, written for as many agencies as there are files.
#
#   tools/preparar.sh FILE        what is already there stays as it is

[ $# -eq 1 ] || { echo "preparar: usage: $0 FILE" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd) || exit 1
data=${here%/tools}/.data

if [ ! -f "$data/agency-1.csv" ]; then
    for archive in "$data/dataset.zip" "$data/datasets.zip"; do
        [ -f "$archive" ] || continue
        echo "preparar: unpacking $archive"
        if command -v unzip >/dev/null; then
            unzip -o -j -q "$archive" '*agency-*.csv' -x '__MACOSX/*' -d "$data" || exit 1
        elif command -v python3 >/dev/null; then
            python3 - "$archive" "$data" <<'EOF' || exit 1
import os, re, sys, zipfile

archive, data = sys.argv[1:]
with zipfile.ZipFile(archive) as files:
    for member in files.namelist():
        if re.search(r"(^|/)agency-\d+\.csv$", member) and not member.startswith("__MACOSX/"):
            with open(os.path.join(data, os.path.basename(member)), "wb") as out:
                out.write(files.read(member))
EOF
        else
            echo "preparar: neither unzip nor python3 is here to unpack $archive" >&2
            exit 1
        fi
        break
    done
fi

[ -f "$1" ] && exit 0
agencies=0
while [ -f "$data/agency-$((agencies + 1)).csv" ]; do agencies=$((agencies + 1)); done
[ "$agencies" -gt 0 ] || {
    echo "preparar: no $data/agency-1.csv, and no dataset.zip to unpack; 'cargo run --release --bin datos -- --help' makes files" >&2
    exit 1
}
sh "$here/generar-compose.sh" "$1" "$agencies" && echo "preparar: wrote $1 for $agencies agencies"
