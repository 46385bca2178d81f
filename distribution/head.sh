#!/bin/sh
# UploadKit @VERSION@ for Linux (@MACHINE@, glibc): the whole appliance. `serve` starts it, `--help` lists the other commands.
#
# What comes after this text is unpacked once, into $XDG_CACHE_HOME/uploadkit or ~/.cache/uploadkit (for users without a home
# $TMPDIR/uploadkit-UID or /tmp/uploadkit-UID). That folder can be deleted whenever nothing of it runs.
set -eu
# Nothing from outside may change what the tools below print.
LC_ALL_BEFORE=${LC_ALL-} LC_ALL_WAS_SET=${LC_ALL+yes}
export LC_ALL=C
unset CDPATH TAR_OPTIONS GZIP POSIXLY_CORRECT

digest=@DIGEST@
me=$(id -u)
mask=$(umask)
umask 077

fail() {
  printf 'uploadkit: %s\n' "$1" >&2
  exit 1
}

[ "$(uname -m)" = @MACHINE@ ] || fail "this file is for @MACHINE@, this machine is $(uname -m)"

self=$0
case $self in
  /*) ;;
  *) self=$(pwd -P)/$self ;;
esac

if [ -n "${XDG_CACHE_HOME-}" ]; then
  base=$XDG_CACHE_HOME/uploadkit
elif [ -n "${HOME-}" ] && { [ -d "$HOME/.cache/uploadkit" ] || [ -w "$HOME/.cache" ] || { [ ! -e "$HOME/.cache" ] && [ -w "$HOME" ]; }; }; then
  base=$HOME/.cache/uploadkit
else
  base=${TMPDIR:-/tmp}/uploadkit-$me
fi
[ -d "$base" ] || mkdir -p -- "$base" || fail "no place to unpack into: XDG_CACHE_HOME can name a folder that you may write to"
[ ! -L "$base" ] || fail "$base is a symbolic link; XDG_CACHE_HOME can name another folder"
base=$(cd -P -- "$base" && pwd -P) || fail "$base can't be entered; XDG_CACHE_HOME can name another folder"
[ "$(stat -c '%u %a' -- "$base")" = "$me 700" ] ||
  fail "$base must be yours and closed to others (mode 700), since programs are run from it; XDG_CACHE_HOME can name another folder"

# Whoever may rename a folder above it could put other programs in its place.
above=$base
while [ "$above" != / ]; do
  above=$(dirname -- "$above")
  case $(stat -c '%u:%a' -- "$above") in
    "$me":*[2367] | 0:*[2367]) [ -k "$above" ] || fail "$above can be written by everybody; XDG_CACHE_HOME can name another folder" ;;
    "$me":* | 0:*) ;;
    *) fail "$above belongs to somebody else; XDG_CACHE_HOME can name another folder" ;;
  esac
done

tree=$base/$digest

# Names, sizes and modes of all files: programs that tidy up delete single ones.
is_whole() {
  [ -d "$1" ] && [ ! -L "$1" ] &&
    [ "$(cd -- "$1" && find . ! -type d -printf '%y %m %s %p\n' | sort | sha256sum)" = '@LISTING@  -' ]
}

is_undamaged() {
  [ "$(tail -c +@START@ -- "$self" | sha256sum)" = "$digest  -" ]
}

unpack() {
  [ ! -t 2 ] || printf 'uploadkit: unpacking into %s, once ...\n' "$base" >&2
  # What a kill has left.
  find "$base" -maxdepth 1 -name '.unpacking.*' -mmin +60 -exec rm -rf -- {} +
  part=$(mktemp -d -- "$base/.unpacking.XXXXXXXXXX") || fail "can't write to $base"
  trap 'rm -rf -- "$part"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  is_undamaged || fail "$self is damaged: it is not what its first lines say"
  mkdir -- "$part/new"
  # tar has a line to say for each file that finds no room; what counts is what is there afterwards.
  tail -c +@START@ -- "$self" | gzip -dc | tar -xpf - --no-same-owner -C "$part/new" 2>&1 | head -n 2 >&2
  is_whole "$part/new" || fail "can't unpack into $base: is the disk full?"
  if [ -e "$tree" ] && ! is_whole "$tree"; then
    mv -T -- "$tree" "$part/old"
  fi
  # Unless another start was quicker.
  mv -T -- "$part/new" "$tree" 2> /dev/null || is_whole "$tree" || fail "can't unpack into $base"
  rm -rf -- "$part"
  trap - EXIT HUP INT TERM
}

is_whole "$tree" || unpack
# What says so before an upgrade has to be whole itself, also where another copy of it was unpacked once.
[ "${1-}" != --version ] || is_undamaged || fail "$self is damaged: it is not what its first lines say"
[ -x "$tree/bin/python3" ] || fail "$base is where no programs may be run (noexec); XDG_CACHE_HOME can name another folder"

umask "$mask"
unset LC_ALL
[ -z "$LC_ALL_WAS_SET" ] || export LC_ALL="$LC_ALL_BEFORE"
unset LC_ALL_BEFORE LC_ALL_WAS_SET
exec "$tree/bin/python3" -I -B -X "uploadkit=$self" "$tree/bin/uploadkit" "$@"
exit 1
