# Sourced by other scripts: the dialects, and that of agency $1 if every agency speaks another one.
#
# Only one agency may speak csv: that dialect names no agency, so the agency is configured ($unnumbered_agency).
# With more agencies than dialects the other dialects repeat.

dialects='case-id text key-value binary csv native'
unnumbered_agency=5 # the place of csv

dialect_of() {
    place=$1
    set -- $dialects
    if [ "$place" -gt $# ]; then
        place=$(((place - 1) % $# + 1))
        [ "$place" -ne "$unnumbered_agency" ] || place=$#
    fi
    shift $((place - 1))
    echo "$1"
}
