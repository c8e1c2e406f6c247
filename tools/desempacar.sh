#!/bin/sh
# Unpacks .data/dataset.zip (or datasets.zip) if it exists: its agency files replace those that come with the
# project. Every change is printed. A file that would be lost is kept as agency-N.csv.kept.
#
#   tools/desempacar.sh
#
# Edits by hand after the archive was unpacked stay, committed or not: .data/.unpacked has the archive's checksum and,
# line by line, those of the project's files that it replaced. A file of these that a checkout restored is
# replaced again. A replaced file that is as in git is not kept.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    ?*) echo "desempacar: '$1' is not known; there are no arguments, see $0 -h" >&2; exit 2 ;;
esac
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
data=${here%/tools}/.data
mark=$data/.unpacked

say() { echo "desempacar: $1" >&2; }
fail() {
    say "$1"
    exit 1
}

archive=
for file in "$data/datasets.zip" "$data/dataset.zip"; do
    [ ! -f "$file" ] || archive=$file
done
[ -n "$archive" ] || exit 0
name=${archive##*/}
sum=$(cksum <"$archive" 2>/dev/null)
[ -n "$sum" ] || fail "cksum is not here or cannot read $name; nothing was unpacked"

work=$(mktemp -d "$data/.unpacking.XXXXXX") || fail "$data cannot be written to"
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM
if command -v unzip >/dev/null; then
    unzip -o -q "$archive" '*agency-*.csv' -d "$work/all"
    # 1 is a warning, such as for names with backslashes; the unpacked files are checked below.
    [ $? -le 1 ] || fail "$name cannot be unpacked"
    rm -rf "$work/all/__MACOSX"
    find "$work/all" -type f -name 'agency-*.csv' -exec mv -f {} "$work" \;
elif command -v python3 >/dev/null; then
    python3 - "$archive" "$work" <<'EOF' || fail "$name cannot be unpacked"
import os, re, sys, zipfile

archive, work = sys.argv[1:]
with zipfile.ZipFile(archive) as files:
    for member in files.namelist():
        if re.search(r"(^|/)agency-\d+\.csv$", member) and not member.startswith("__MACOSX/"):
            with open(os.path.join(work, os.path.basename(member)), "wb") as out:
                out.write(files.read(member))
EOF
else
    fail "neither unzip nor python3 is here to unpack $name"
fi
[ -f "$work/agency-1.csv" ] || fail "there is no agency-1.csv in $name"

again=
[ -f "$data/agency-1.csv" ] && [ "$(sed -n 1p "$mark" 2>/dev/null)" = "$sum" ] && again=yes

as_in_git() { git -C "$data" ls-files --error-unmatch "$1" >/dev/null 2>&1 && git -C "$data" diff --quiet HEAD -- "$1" 2>/dev/null; }
# Whether a file is the project's. After the first run only a file that was replaced then is: other files in git may
# have been committed by the user since.
replaced=$(sed 1d "$mark" 2>/dev/null)
is_own() {
    line="$(cksum <"$data/$1") $1"
    if [ -n "$again" ]; then echo "$replaced" | grep -qxF "$line"; return; fi
    as_in_git "$1" || return
    echo "$replaced" | grep -qxF "$line" || replaced="$replaced${replaced:+
}$line"
}
kept=
keep() {
    aside=$1.kept n=1
    while [ -f "$data/$aside" ] && ! cmp -s "$data/$1" "$data/$aside"; do n=$((n + 1)) aside=$1.kept$n; done
    mv -f "$data/$1" "$data/$aside" || fail "$data/$1 cannot be renamed"
    kept="$kept $aside"
}

agencies=" $(cd "$work" && echo agency-*.csv) "
unpacked=0
for new in "$work"/agency-*.csv; do
    file=${new##*/}
    if [ -f "$data/$file" ]; then
        ! cmp -s "$new" "$data/$file" || continue
        if ! is_own "$file"; then
            [ -z "$again" ] || { say "$file is not as in $name, and was changed after it was unpacked: it stays"; continue; }
            keep "$file"
        fi
    elif [ -n "$again" ]; then
        continue
    fi
    mv -f "$new" "$data/$file" || fail "$data/$file cannot be written"
    unpacked=$((unpacked + 1))
done
# Agencies that the archive lacks take no part in its draw.
for old in "$data"/agency-*.csv; do
    file=${old##*/}
    case $agencies in *" $file "*) continue ;; esac
    is_own "$file" || [ -z "$again" ] || continue
    keep "$file"
done
[ "$unpacked" -eq 0 ] || say "unpacked $unpacked files of $name, which are the data from now on"
[ -z "$kept" ] || say "what was there before is in$kept"
[ -n "$again" ] || printf '%s\n' "$sum" ${replaced:+"$replaced"} >"$mark"
