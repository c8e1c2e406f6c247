#!/bin/sh
# Runs the fuzz targets of fuzz/, one after the other, and prints the results.
#
#   tools/fuzz.sh        FUZZ_SECONDS=60        the time of each target
#                        FUZZ_TARGET=session    runs this target only
#                        FUZZ_SANITIZER=none    or address: slower, and checks the memory accesses of dependencies
#
# A run starts from the committed fuzz/corpus and from the inputs of earlier runs in fuzz/target/corpus. Failing inputs
# are left in fuzz/artifacts. Exits with 1 if there are any.

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    ?*) echo "fuzz: '$1' is not known; settings are variables, see $0 -h" >&2; exit 2 ;;
esac

FUZZ_SECONDS=${FUZZ_SECONDS:-60} FUZZ_SANITIZER=${FUZZ_SANITIZER:-none}
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}

missing() {
    echo "fuzz: $1" >&2
    exit 2
}

case $FUZZ_SECONDS in
    '' | 0 | *[!0-9]*) missing "FUZZ_SECONDS is '$FUZZ_SECONDS'; it is a whole number of seconds" ;;
esac
all=$(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/\1/p' "$root/fuzz/Cargo.toml")
targets=${FUZZ_TARGET:-$all}
for target in $targets; do
    # shellcheck disable=SC2086 # a word each
    printf '%s\n' $all | grep -qx -- "$target" ||
        missing "there is no target $target; there are $(printf '%s\n' $all | paste -sd ' ' -)"
done
command -v cargo-fuzz >/dev/null || missing "cargo-fuzz is missing; 'cargo install cargo-fuzz --locked' installs it"
command -v c++ >/dev/null || missing "a C++ compiler is missing, which builds libFuzzer"
host=$(rustc -vV | sed -n 's/^host: //p')
bin=${CARGO_TARGET_DIR:-$root/fuzz/target}/$host/release
cd "$root/fuzz" || exit 1

# cargo-fuzz needs unstable options, which RUSTC_BOOTSTRAP=1 enables in a stable compiler.
for target in $targets; do
    RUSTC_BOOTSTRAP=1 cargo fuzz build --sanitizer "$FUZZ_SANITIZER" "$target" || exit 1
done

number() {
    sed -n "s/^$1: *//p" "$log"
}

found=0
printf '%-12s %9s %12s %8s  %s\n' target seconds executions edges 'what it found'
for target in $targets; do
    kept=target/corpus/$target artifacts=artifacts/$target log=target/$target.log
    mkdir -p "$kept" "corpus/$target" "$artifacts"
    before=$(find "$artifacts" -type f | wc -l)
    case $target in session) longest=2000 ;; *) longest=4096 ;; esac
    began=$(date +%s)
    "$bin/$target" -max_total_time="$FUZZ_SECONDS" -max_len=$longest -timeout=60 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$artifacts/" "$kept" "corpus/$target" >"$log" 2>&1
    ended=$?
    edges=$(sed -n 's/^#.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    verdict=nothing
    if [ "$ended" -ne 0 ]; then
        found=1
        verdict="exit $ended: $(grep -m 1 -A 1 'panicked at' "$log" | tail -n 1); see fuzz/$log"
        [ "$(find "$artifacts" -type f | wc -l)" -eq "$before" ] || verdict="$verdict and fuzz/$artifacts"
    fi
    printf '%-12s %9s %12s %8s  %s\n' "$target" $(($(date +%s) - began)) \
        "$(number stat::number_of_executed_units)" "${edges:--}" "$verdict"
done
[ "$found" -eq 0 ] || echo "fuzz: FUZZ_TELL=1 $bin/TARGET FILE tells what happens in one input of session" >&2
exit "$found"
