#!/bin/sh
# Runs every test, and says in its last line what passed, and what was skipped and why.
#
#   tools/test.sh [PART ...]      targets of the Makefile that begin with test- (default: all but test-cluster)
#
# The Rust tests, then the browser's, run beside all others, whose output follows theirs. After a part that fails no other one
# begins, and the exit code is 1.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
unset CDPATH # `cd` would look there
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
parts=$(sed -n 's/^\(test-[a-z]*\):.*/\1/p' "$root/Makefile")
for part; do
    echo "$parts" | grep -qxF -e "$part" || { echo "test: '$part' is not known; see $0 -h" >&2; exit 2; }
done
# shellcheck disable=SC2086 # a word each
[ $# -gt 0 ] || set -- $(echo "$parts" | grep -vxF test-cluster)

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

# Prints what a part's output says of its tests: how many passed, then a line for each test that was skipped.
# The lines are those of Rust's test harness and of Python's unittest with --verbose. What a test's program prints may
# stand between the name of a Python test and its result.
results() { # PART
    awk -v part="$1" '
        /^test result: / { for (i = 2; i <= NF; i++) if ($i ~ /^passed;?$/) passed += $(i - 1) }
        /^(.* \.\.\. )?ok$/ && part != "test-rust" { passed++ }
        match($0, /(^|\.\.\. )skipped: /) || match($0, /: SKIPPED, /) { skips[++n] = substr($0, RSTART + RLENGTH) }
        match($0, /(^| \.\.\. )skipped [\047"]/) { skips[++n] = substr($0, RSTART + RLENGTH, length($0) - RSTART - RLENGTH) }
        END {
            # A Rust test that is skipped passes.
            print passed - (part == "test-rust" ? n : 0)
            for (i = 1; i <= n; i++) print skips[i]
        }
    ' "$work/$1"
}

# Each lane has one part after another.
front='' behind=''
for part; do
    case $part in
        test-rust | test-browser) front="$front $part" ;;
        *) behind="$behind $part" ;;
    esac
done
[ -z "$front" ] || [ -z "$behind" ] || echo "test:$front here; what runs beside,$behind, is shown behind"
any_bad() { ls "$work" | grep -q '\.bad$'; }
# One stream, so that the output stays in its order.
run() { ${MAKE:-make} --no-print-directory -C "$root" "$1" 2>&1 </dev/null || : >"$work/$1.bad"; }
# Two lanes as a pipe, through which nothing goes: a background job would not notice a Ctrl-C.
for part in $behind; do any_bad || run "$part" >"$work/$part"; done | for part in $front; do any_bad || run "$part" | tee "$work/$part"; done

passed='' bad=''
: >"$work/skips"
for part; do
    [ -e "$work/$part" ] || continue
    case " $behind " in *" $part "*) cat "$work/$part" ;; esac
    [ ! -e "$work/$part.bad" ] || { bad="$bad${bad:+, }$part"; continue; }
    results "$part" >"$work/results"
    passed="$passed${passed:+, }$(sed -n 1p "$work/results") of $part"
    sed 1d "$work/results" >>"$work/skips"
done

skipped=$(LC_ALL=C sort "$work/skips" | uniq -c | awk '{ n = $1; sub(/^ *[0-9]+ /, ""); printf "%s%s (%d)", sep, $0, n; sep = "; " }')
[ -z "$bad" ] || { echo "test: FAILED: $bad, see above${passed:+; passed: $passed}" >&2; exit 1; }
echo "test: passed: $passed; skipped: ${skipped:-nothing}"
