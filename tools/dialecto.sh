# Read by the scripts beside it: which dialect agency $1 speaks where every agency speaks another.
#
# Only one agency may speak csv: that dialect names no agency, so the hub is told which one its connection is
# ($unnumbered_agency). From the seventh on the others come round again.

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
