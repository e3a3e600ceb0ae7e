#!/usr/bin/env bash
# Builds PgBouncer from Debian 13's source package into the folder TARGET, for machines whose own is older than 1.23
# (Debian 12 has 1.18, which drops its clients when it is told to end). Half a minute.
# Usage: services/local/build_pgbouncer.sh TARGET. Wants a C compiler, and libevent and OpenSSL with their headers.
set -euo pipefail
target=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The machine's own mirror, in a package list of this script's own: the system's stays as it is, and no root is needed.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p)
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >sources.list
mkdir -p lists/partial cache/archives/partial
apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User="$(id -un)")
"${apt[@]}" update
"${apt[@]}" source --download-only pgbouncer/trixie
tar xzf pgbouncer_*.orig.tar.gz --strip-components=1

./configure --without-cares PANDOC=false >build.log 2>&1 && make pgbouncer >>build.log 2>&1 || {
    tail -n 20 build.log >&2
    exit 1
}
install -D pgbouncer "$target/pgbouncer"
