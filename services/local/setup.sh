#!/usr/bin/env bash
# Sets up all that `make` needs on a fresh Debian: uv, the Python packages, ffmpeg, for the tests PgBouncer, Chromium and
# hls.js, and for the tests on a real Kubernetes what its nodes are made of.
# Usage: services/local/setup.sh [run|test|e2e]. Safe to run again; quick when there is nothing to do.
# Registries and mirrors are the user's own: whatever pip, uv and apt are configured with.
set -euo pipefail
cd "$(dirname "$0")/../.."
purpose=${1:-run}

fail() {
    printf '\n%s\n' "$@" >&2
    exit 1
}

# Prints how system packages may be installed: nothing as root, sudo where it asks no password; fails otherwise.
apt_prefix() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then
        return 0
    fi
    sudo -n true 2>/dev/null && echo "sudo -n"
}

apt_updated=
apt_update() {
    local prefix
    prefix=$(apt_prefix) || return 1
    if [ -z "$apt_updated" ]; then
        $prefix apt-get update -qq || return 1
        apt_updated=yes
    fi
}

apt_install() {
    local prefix
    prefix=$(apt_prefix) && apt_update || return 1
    echo "setup: installing $* with apt-get"
    # A machine that has just started may be upgrading itself.
    $prefix env DEBIAN_FRONTEND=noninteractive apt-get install -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends \
        "$@" >/dev/null
}

python_is_new_enough() {
    command -v python3 >/dev/null && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'
}

# uv goes into .tools: by pip where there is one (--target leaves the system's packages alone), else by a venv.
install_uv() {
    echo "setup: installing uv into .tools"
    if python3 -m pip --version >/dev/null 2>&1; then
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
            --upgrade --target .tools/uv uv
    elif python3 -m venv --clear .tools/uv >/dev/null 2>&1; then
        .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
    else
        return 1
    fi
}

ensure_uv() {
    if command -v uv >/dev/null || [ -x .tools/uv/bin/uv ]; then
        return
    fi
    mkdir -p .tools
    install_uv || { apt_install python3-venv && install_uv; } || fail \
        "uv를 설치할 수 없습니다. python3-venv 또는 uv를 설치한 뒤 다시 실행해 주세요." \
        "Cannot install uv: this Python has neither pip nor venv. Install one of them (apt-get install python3-venv) or uv, then run again."
}

ensure_ffmpeg() {
    if command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null; then
        return
    fi
    apt_install ffmpeg || fail \
        "ffmpeg가 필요합니다. 관리자 권한으로 'apt-get install ffmpeg'를 실행한 뒤 다시 시도해 주세요." \
        "ffmpeg is needed and cannot be installed without root or passwordless sudo. Run 'apt-get install ffmpeg' as root, then run again."
}

# exam.ocr reads with tesseract; without it that kind refuses to work, and says so.
ensure_tesseract() {
    if command -v tesseract >/dev/null && tesseract --list-langs 2>/dev/null | grep -qx kor; then
        return
    fi
    apt_install tesseract-ocr tesseract-ocr-kor ||
        echo "setup: tesseract를 설치할 수 없어 시험지 읽기(exam.ocr)를 쓸 수 없습니다. / tesseract cannot be installed; exam.ocr does not work and its tests are skipped. Install it with: apt-get install tesseract-ocr tesseract-ocr-kor" >&2
}

# Made exam pages are set in these fonts; without them their tests are skipped, and say so.
ensure_fonts() {
    if [ -e /usr/share/fonts/truetype/nanum/NanumMyeongjo.ttf ] && [ -e /usr/share/fonts/opentype/noto/NotoSerifCJK-Regular.ttc ]; then
        return
    fi
    apt_install fonts-nanum fonts-noto-cjk ||
        echo "setup: 한글 글꼴을 설치할 수 없어 시험지 관련 시험을 건너뜁니다. / Korean fonts cannot be installed; the tests on exam pages are skipped. Install them with: apt-get install fonts-nanum fonts-noto-cjk" >&2
}

pgbouncer_of_1_23() {
    local version
    version=$(PATH=$PWD/.tools/pgbouncer:$PATH:/usr/sbin pgbouncer --version 2>/dev/null | sed -n 's/^PgBouncer //p')
    [ "$(printf '%s\n' 1.23 "$version" | sort -V | head -n 1)" = 1.23 ]
}

# The tests of transaction pooling want it, from 1.23 on. Where Debian's is older it is built; an older one has to do
# where it cannot be built; without any the tests are skipped, and say so.
ensure_pgbouncer() {
    if pgbouncer_of_1_23; then
        return
    fi
    if ! PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null; then
        apt_install pgbouncer && stop_service pgbouncer || true
    fi
    if pgbouncer_of_1_23; then
        return
    fi
    echo "setup: building PgBouncer into .tools"
    command -v gcc >/dev/null && [ -f /usr/include/event2/event.h ] && [ -f /usr/include/openssl/ssl.h ] \
        || apt_install gcc libc6-dev pkg-config libevent-dev libssl-dev || true
    services/local/build_pgbouncer.sh .tools/pgbouncer || echo "setup: PgBouncer 1.23 이상을 마련할 수 없습니다. 관련 시험은 구버전으로 하거나 건너뜁니다. / PgBouncer 1.23 or newer is not to be had; its tests use an older one or are skipped. To build it, install as root: apt-get install gcc pkg-config libevent-dev libssl-dev" >&2
}

# Debian starts a system-wide instance of what it installs; ours run by themselves.
stop_service() {
    if [ -d /run/systemd/system ]; then
        $(apt_prefix) systemctl disable --quiet --now "$1"
    fi
}

# Programs of the test cluster that Debian has; the others are compiled (tests/cluster/binaries.py). What is missing is
# installed; without it `make e2e` cannot run, and says so.
ensure_cluster() {
    local missing=() entry services=()
    for entry in containerd:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins etcd:etcd-server \
        iptables:iptables ip:iproute2 conntrack:conntrack buildah:buildah mmdebstrap:mmdebstrap openssl:openssl; do
        PATH=$PATH:/usr/sbin command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    apt_install "${missing[@]}" || fail \
        "실제 Kubernetes 시험에 필요합니다. 관리자 권한으로 'apt-get install ${missing[*]}'를 실행해 주세요." \
        "The tests on a real Kubernetes need them. Run as root: apt-get install ${missing[*]}"
    for entry in "${missing[@]}"; do
        case $entry in containerd) services+=(containerd) ;; etcd-server) services+=(etcd) ;; esac
    done
    for entry in "${services[@]}"; do
        stop_service "$entry"
    done
}

# The engine that `skaffold build` is tried on. Unpacked and not installed: an installed one starts, and changes the
# machine's network. Without it that test fails, and says so.
ensure_docker() {
    [ ! -x .tools/docker/usr/sbin/dockerd ] || return 0
    echo "setup: unpacking docker.io into .tools"
    rm -rf .tools/docker .tools/docker.new
    mkdir -p .tools/docker.new
    if apt_update && (cd .tools/docker.new && apt-get download -qq -o APT::Sandbox::User=root docker.io) &&
        dpkg -x .tools/docker.new/docker.io_*.deb .tools/docker.new/root; then
        mv .tools/docker.new/root .tools/docker
    else
        echo "setup: docker.io를 받을 수 없어 skaffold build 시험이 실패합니다. / docker.io cannot be fetched; the test of skaffold build will fail." >&2
    fi
    rm -rf .tools/docker.new
}

# The tests of playback in a browser want both; without them they are skipped, and say so.
ensure_browser() {
    if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null &&
        ! apt_install chromium; then
        echo "setup: chromium을 설치할 수 없어 브라우저 재생 시험을 건너뜁니다. / chromium cannot be installed; the browser playback tests are skipped. Install it with: apt-get install chromium" >&2
        return
    fi
    if cmp -s tests/browser/package-lock.json .tools/browser/package-lock.json && [ -d .tools/browser/node_modules/hls.js ]; then
        return
    fi
    if ! command -v npm >/dev/null && ! apt_install npm; then
        echo "setup: npm이 없어 hls.js를 받을 수 없고 브라우저 재생 시험을 건너뜁니다. / npm is missing, so hls.js cannot be fetched; the browser playback tests are skipped. Install it with: apt-get install npm" >&2
        return
    fi
    rm -rf .tools/browser .tools/browser.new
    mkdir -p .tools/browser.new
    cp tests/browser/package.json tests/browser/package-lock.json .tools/browser.new/
    if npm ci --prefix .tools/browser.new --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null; then
        mv .tools/browser.new .tools/browser
    else
        rm -rf .tools/browser.new
        echo "setup: npm이 hls.js를 받지 못해 브라우저 재생 시험을 건너뜁니다. / npm could not fetch hls.js; the browser playback tests are skipped." >&2
    fi
}

# The tests of speech to text let it speak; without it they are skipped, and say so.
ensure_espeak() {
    if ! command -v espeak-ng >/dev/null && ! apt_install espeak-ng; then
        echo "setup: espeak-ng를 설치할 수 없어 관련 시험을 건너뜁니다. / espeak-ng cannot be installed; its tests are skipped. Install it with: apt-get install espeak-ng" >&2
    fi
}

python_is_new_enough || apt_install python3 && python_is_new_enough || fail \
    "Python 3.11 이상이 필요합니다." "Python 3.11 or newer is needed as python3."
command -v setpriv >/dev/null || fail \
    "util-linux(setpriv)가 필요합니다." "setpriv is needed; it is part of util-linux."
ensure_uv
ensure_ffmpeg
ensure_tesseract
if [ "$purpose" != run ]; then
    ensure_pgbouncer
    ensure_browser
    ensure_fonts
fi
if [ "$purpose" = e2e ]; then
    ensure_cluster
    ensure_docker
fi
export PATH=$PATH:$PWD/.tools/uv/bin
if [ "$purpose" = run ]; then
    uv sync --quiet --frozen --extra dev
else
    # torch (5 GB) is for the tests alone: the engine for GPUs is tested on the processor.
    uv sync --quiet --frozen --extra dev --extra gpu
    UV_PROJECT_ENVIRONMENT=.tools/bench uv sync --quiet --frozen --only-group bench
fi
