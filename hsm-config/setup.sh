#!/usr/bin/env bash
# Makes this machine ready for leafkeeper: SoftHSM, OpenSSL's pkcs11 engine, what compiles pkcs11js, npm packages.
# May be run again and again; it changes only what is missing.
#
#   hsm-config/setup.sh           do it
#   hsm-config/setup.sh --bench   do it, with mosquitto, which the benchmark compares with
#   hsm-config/setup.sh --test    do it, with strongSwan's pki and curl, which tests compare with, and other
#                                 modules than SoftHSM with what they need, such as a TPM in software
#   hsm-config/setup.sh --check   only say what is missing, and exit with 1 if something is
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
check_only=false
for_bench=false
for_test=false
case "${1:-}" in
  --check) check_only=true ;;
  --bench) for_bench=true ;;
  --test) for_test=true ;;
esac

say() { printf '%s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# A field of a profile, by default that of SoftHSM: one candidate path a line.
candidates() {
  node -e 'for (const path of JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"))[process.argv[2]]) console.log(path)' \
    "$root/hsm-config/${2:-softhsm}.json" "$1"
}

# The first candidate that exists; fails when there is none.
find_first() {
  local path
  while IFS= read -r path; do
    if [ -e "$path" ]; then
      say "$path"
      return 0
    fi
  done < <(candidates "$@")
  return 1
}

# node-gyp downloads node's headers unless it is told where they are. A link may lead to node, or node to them.
use_local_headers() {
  local node prefix
  node=$(command -v node)
  for prefix in "$(dirname -- "$(dirname -- "$node")")" "$(dirname -- "$(dirname -- "$(readlink -f -- "$node")")")"; do
    if [ -e "$prefix/include/node/node.h" ]; then
      export npm_config_nodedir="$prefix"
      return 0
    fi
  done
}

pkcs11js_works() { (cd -- "$root" && node -e 'require("pkcs11js")') >/dev/null 2>&1; }

packages_are_current() {
  local installed="$root/node_modules/.package-lock.json"
  # Without its development packages (NODE_ENV=production leaves them out) nothing can be built.
  [ -e "$installed" ] && [ ! "$root/package-lock.json" -nt "$installed" ] && [ -e "$root/node_modules/.bin/tsc" ]
}

# Debian packages for what is missing, one a line.
missing_packages() {
  find_first module >/dev/null || say softhsm2
  find_first engine >/dev/null || say libengine-pkcs11-openssl
  command -v pkcs11-tool >/dev/null || say opensc
  command -v openssl >/dev/null || say openssl
  # Debian keeps it where only root's PATH leads.
  if $for_bench && ! PATH="$PATH:/usr/sbin" command -v mosquitto >/dev/null; then say mosquitto; fi
  if $for_test; then
    # It reads no elliptic curves without its plugins.
    pki --gen --type ecdsa --size 256 >/dev/null 2>&1 || say strongswan-pki libstrongswan-standard-plugins
    command -v curl >/dev/null || say curl
    command -v swtpm >/dev/null || say swtpm
    # Other modules than SoftHSM, each with what its test needs.
    find_first module tpm2-pkcs11 >/dev/null || say libtpm2-pkcs11-1 libtss2-tcti-swtpm0 libtss2-tcti-tabrmd0 tpm2-abrmd
    find_first module p11-kit-client >/dev/null || say p11-kit-modules
    find_first module nss-softokn >/dev/null || say libnss3
    command -v dbus-daemon >/dev/null || say dbus-daemon
    command -v p11-kit >/dev/null || say p11-kit
    command -v certutil >/dev/null || say libnss3-tools
    command -v socat >/dev/null || say socat
  fi
  # A compiler is needed only while pkcs11js is not built.
  if ! pkcs11js_works; then
    command -v python3 >/dev/null || say python3
    command -v make >/dev/null || say make
    command -v g++ >/dev/null || say g++
  fi
}

# As root directly, else through sudo if it asks for no password; fails when neither works.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 1
  fi
}

install_packages() {
  local missing
  missing=$(missing_packages | tr '\n' ' ')
  missing=${missing% }
  [ -z "$missing" ] && return 0
  if ! command -v apt-get >/dev/null; then
    fail "install what these Debian packages hold, then run this again: $missing
       (Fedora: dnf install softhsm openssl-pkcs11 opensc python3 make gcc-c++; Alpine: apk add softhsm libp11 opensc python3 make g++)"
  fi
  if ! as_root true; then
    fail "this needs root; run: sudo apt-get install --no-install-recommends $missing"
  fi
  say "installing $missing"
  as_root apt-get update -qq || fail "apt-get update failed; run it by hand to see why"
  # shellcheck disable=SC2086 # one word a package
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    fail "apt-get install failed; run it by hand to see why: apt-get install --no-install-recommends $missing"
  missing=$(missing_packages | tr '\n' ' ')
  [ -z "$missing" ] || fail "after the installation still not found: $missing"
}

# `npm ci` refuses a lock file that a registry without every platform's optional binaries has written; `npm install`
# takes the same versions from it.
install_npm_packages() {
  local log
  cd -- "$root"
  log=$(mktemp)
  if npm ci --include=dev --no-audit --no-fund --loglevel=error >"$log" 2>&1; then
    rm -f -- "$log"
  elif grep -q 'code EUSAGE' "$log"; then
    rm -f -- "$log"
    say "package-lock.json is not complete: installing by npm install, without changing it"
    npm install --include=dev --no-save --no-audit --no-fund --loglevel=error || fail "npm install failed"
  else
    cat -- "$log" >&2
    rm -f -- "$log"
    fail "npm ci failed"
  fi
}

command -v node >/dev/null || fail "node is missing; install Node.js 20.15 or newer (https://nodejs.org)"
version=$(node -p 'process.versions.node')
major=${version%%.*}
minor=${version#*.}
minor=${minor%%.*}
[ "$major" -gt 20 ] || { [ "$major" -eq 20 ] && [ "$minor" -ge 15 ]; } ||
  fail "Node.js 20.15 or newer is needed, this is $version"

if $check_only; then
  missing=$(missing_packages | tr '\n' ' ')
  [ -z "$missing" ] || say "missing packages: $missing"
  packages_are_current || say "missing: npm packages (npm ci)"
  pkcs11js_works || say "missing: the native part of pkcs11js"
  [ -z "$missing" ] && packages_are_current && pkcs11js_works || exit 1
  say ready
  exit 0
fi

install_packages
say "module $(find_first module)"
say "engine $(find_first engine)"
use_local_headers
if ! packages_are_current; then
  say "installing npm packages"
  install_npm_packages
fi
if ! pkcs11js_works; then
  say "building pkcs11js"
  (cd -- "$root" && npm rebuild pkcs11js --foreground-scripts --loglevel=error) || fail "pkcs11js could not be built"
  pkcs11js_works || fail "pkcs11js was built but cannot be loaded"
fi
say ready
