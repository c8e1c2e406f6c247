# Sourced by other scripts: the dialect of agency $1 if every agency speaks another one.
#
# Only one agency may speak csv: that dialect names no agency, so the agency is configured ($unnumbered_agency).
# From the seventh agency on the other dialects repeat.

unnumbered_agency=5

dialect_of() {
    case $1 in
        1) echo case-id ;;
        2) echo text ;;
        3) echo key-value ;;
        4) echo binary ;;
        5) echo csv ;;
        6) echo native ;;
        *)
            set -- $((($1 - 1) % 6 + 1))
            [ "$1" -ne "$unnumbered_agency" ] || set -- 6
            dialect_of "$1"
            ;;
    esac
}
