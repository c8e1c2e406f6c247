#!/bin/sh
# Writes the project in the layout of the course's graders.
#
#   tools/entrega.sh DIR        DIR is created; it must be empty if it exists
#
# DIR becomes a git repository with branches ej1 to ej8. Each holds the project as it is committed or changed
# here, and: generar-compose.sh and validar-echo-server.sh at its root, and server/ and client/, each with its
# Dockerfile and its configuration file. The branches differ in the clients of the compose file and in the mode that
# client/config.yaml asks for: the echo loop up to ej4, one bet each in ej5, the agencies' files from ej6 on. The images
# are the same in all branches.

fail() {
    echo "entrega: $1" >&2
    exit "${2:-1}"
}

case ${1-} in
    -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) fail "'$1' is not known; see $0 -h" 2 ;;
esac
[ $# -eq 1 ] || fail "usage: $0 DIR" 2
unset CDPATH # `cd` would look there
here=$(cd "$(dirname "$0")" && pwd) || exit 1
root=${here%/tools}
git -C "$root" rev-parse --verify -q HEAD >/dev/null || fail "$root is not a git checkout; the list of files is taken from git" 2
mkdir -p "$1" && dir=$(cd "$1" && pwd) || fail "$1 cannot be made"
[ -z "$(ls -A "$dir")" ] || fail "$dir is not empty; name a folder that is, or a new one" 2

# The files that git tracks, with their content in the work tree; deleted files are left out.
git -C "$root" ls-files -z --cached --deduplicate >"$dir/.files" || fail "git cannot list the files of $root"
(cd "$root" && xargs -0 sh -c 'for f; do [ ! -f "$f" ] || printf "%s\0" "$f"; done' sh <"$dir/.files" |
    tar --null -T - -cf -) | tar -C "$dir" -xf - || fail "the files cannot be copied to $dir"
rm "$dir/.files"
cd "$dir" || exit 1
[ -f Dockerfile ] && [ -f config.ini ] && [ -f config.yaml ] || fail "Dockerfile, config.ini or config.yaml is missing in $root"

# The Dockerfile without the stage of the other program: a build without a target makes the last stage, and all stages
# before it are the same in both, so that the second build finds the layers of the first.
#
# The images are based on the build instead of a bare Debian: the graders run `docker image prune -f` between the
# exercises, which removes every image that has no name and is not the base of a named one. With a separate base the
# images would be smaller, but the programs would be compiled again for each exercise.
stage() { # stage OTHER
    awk -v other="$1" '
        $1 == "FROM" { skip = ($NF == other) }
        $1 == "FROM" && $NF == "runtime" { $2 = "programs" }
        !skip { print }
    ' Dockerfile
}
mkdir -p server client
stage client >server/Dockerfile
stage server >client/Dockerfile
grep -q '^FROM programs AS runtime$' server/Dockerfile || fail "Dockerfile has no stages 'programs' and 'runtime'"
rm Dockerfile
mv config.ini server/config.ini
# The hub's name in the compose file is written out, since the exercises have it changed there.
awk '$0 == "#server: {address: localhost:12345}" { print "server:"; print "  address: \"server:12345\""; next } { print }' \
    config.yaml >client/config.yaml && rm config.yaml
grep -q '^  address: "server:12345"$' client/config.yaml || fail "config.yaml has no line '#server: {address: localhost:12345}'"

# The graders call these two scripts at the root; each calls the script in tools/.
for script in generar-compose.sh validar-echo-server.sh; do
    cat >"$script" <<EOF
#!/bin/sh
# What the course expects at this place; the script itself is in tools/.
exec sh "\$(dirname "\$0")/tools/$script" "\$@"
EOF
    chmod +x "$script"
done

# The default mode of the clients in a compose file, and the mode of their configuration: the client never chooses the
# echo loop by itself.
default_mode() {
    sed "s/^#*mode: .*/mode: $1/" client/config.yaml >client/config.part && mv client/config.part client/config.yaml
    grep -q "^mode: $1\$" client/config.yaml || fail "config.yaml has no mode"
    sed "s/^default_mode=.*/default_mode=$1/" tools/generar-compose.sh >generar.part &&
        cat generar.part >tools/generar-compose.sh && rm generar.part
    [ "$(grep -c "^default_mode=$1\$" tools/generar-compose.sh)" -eq 1 ] || fail "tools/generar-compose.sh has no default_mode"
}

# The compose files of the graders have what the course knows: no published port, and clients that do not wait for the
# server's health.
sed 's/^status=on$/status=off/' tools/generar-compose.sh >generar.part &&
    cat generar.part >tools/generar-compose.sh && rm generar.part
grep -q '^status=off$' tools/generar-compose.sh || fail "tools/generar-compose.sh has no 'status=on'"

# The author is git's configured user, or else the project.
repository() { git -c core.hooksPath=/dev/null -c commit.gpgSign=false "$@"; }
git init -q . && git symbolic-ref HEAD refs/heads/ej1
git config user.name >/dev/null || git config user.name "Lotería"
git config user.email >/dev/null || git config user.email "loteria@localhost"

commit() { # commit MODE MESSAGE
    default_mode "$1"
    repository add -A -f . && repository commit -q -m "$2" || fail "git cannot commit in $dir"
}
commit echo "Exercises 1 to 4: echo clients"
for branch in ej2 ej3 ej4; do repository branch "$branch"; done
repository checkout -q -b ej5
commit bet "Exercise 5: one bet a client"
repository checkout -q -b ej6
commit agency "Exercises 6 to 8: the agencies' files"
for branch in ej7 ej8; do repository branch "$branch"; done
repository checkout -q ej8

echo "entrega: $dir has branches$(git for-each-ref --format=' %(refname:short)' refs/heads | tr -d '\n')"
