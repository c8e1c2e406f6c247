# Sourced by the scripts that write a compose file, which have `fail`, $here, $root, and the $folder of that file: where the
# configuration is, whose it is, and how a file of the project is mounted.

. "$here/sumas.sh"

# Compose resolves a relative path from the folder of its file: relative paths if that is the project's.
base=$root
[ "$folder" = "$root" ] && base=.

# The graders' layout has each program's configuration in the program's own folder.
server_config=config.ini client_config=config.yaml
[ -f "$root/server/$server_config" ] && server_config=server/$server_config
[ -f "$root/client/$client_config" ] && client_config=client/$client_config

# Run as the owner of the configuration, who can read it in any mode: not as root, unless root is the owner.
owner=$(ls -nL "$root/$server_config" 2>/dev/null | awk '{ print $3 ":" $4 }')
[ -n "$owner" ] || fail "$root/$server_config is missing; the server's configuration is mounted from there"

# One file, of the project or with its whole path, mounted read-only. The long form reports a missing file; the short one
# creates a folder instead.
mount() { # FILE TARGET
    case $1 in /*) ;; *) set -- "$base/$1" "$2" ;; esac
    # YAML and Compose read these three themselves.
    set -- "$(printf '%s\n' "$1" | sed 's/[\\"]/\\&/g; s/\$/$$/g')" "$2"
    cat <<EOF
      - type: bind
        source: "$1"
        target: "$2"
        read_only: true
EOF
}
