#!/bin/sh
# Builds the Rust tests, and runs several of their programs at once: most of them wait more than they work.
#
#   tools/test_rust.sh [NAME ...]    the programs of tests/NAME.rs or tests/NAME/ (default: all but cluster_kill, which `make
#                                    test-cluster` has, and the documentation's examples)
#
# AT_ONCE=3 programs run at a time. What a program prints comes in one piece when it has ended. All run, also behind one that
# fails; the last lines name those that failed.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "test_rust: '$1' is not known; see $0 -h" >&2; exit 2 ;;
esac
case ${AT_ONCE:=3} in
    *[!0-9]* | 0*) echo "test_rust: AT_ONCE is '$AT_ONCE'; it is a number of programs" >&2; exit 2 ;;
esac
unset CDPATH # `cd` would look there
root=$(cd "$(dirname "$0")/.." && pwd) && cd "$root" || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

names=''
for name; do names="$names --test $name"; done
# shellcheck disable=SC2086 # a word each
cargo test --locked --no-run --message-format=json-render-diagnostics $names >"$work/built" || exit

# Each program's source, a tab, the program. Those that take longest are first, so that none of them is the last to end.
tab=$(printf '\t')
sed -n "/\"test\":true},\"features\"/s/.*\"src_path\":\"\([^\"]*\)\".*\"executable\":\"\([^\"]*\)\".*/\1$tab\2/p" "$work/built" |
    awk -v given=$# 'given || !/\/cluster_kill\.rs\t/ { print (/\/(hub_parked|ledger_engine|simulation\/main|hubs|client_words)\.rs\t/ ? 0 : 1) "\t" $0 }' |
    LC_ALL=C sort | cut -f 2- | tr '\t' '\n' >"$work/programs"
[ -s "$work/programs" ] || { echo "test_rust: cargo names no test program" >&2; exit 1; }

mkdir "$work/run"
tr '\n' '\0' <"$work/programs" | xargs -0 -n 2 -P "$AT_ONCE" sh -c '
    said=$0/run/${2##*/}
    "$2" >"$said" 2>&1
    code=$?
    [ "$code" -eq 0 ] || echo "${1#"$PWD/"} (exit code $code)" >>"$0/failed"
    until mkdir "$0/printing" 2>/dev/null; do sleep 0.05; done
    printf "     Running %s\n" "${1#"$PWD/"}"
    cat "$said"
    rmdir "$0/printing"
' "$work"

if [ $# -eq 0 ]; then
    cargo test --locked --doc || echo "the documentation's examples" >>"$work/failed"
fi
[ ! -e "$work/failed" ] || { sed 's/^/test_rust: FAILED: /' "$work/failed" >&2; exit 1; }
