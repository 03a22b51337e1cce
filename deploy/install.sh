#!/bin/sh
# Installs hacluster on a Debian-like machine: a virtual environment of its own, links, systemd units, the user.
# It enables and starts nothing, and writes no configuration.
#
#   deploy/install.sh [--wheel FILE] [--prefix DIR] [--uninstall]
#
# Without --wheel one is built from this checkout. DESTDIR=DIR puts all but the environment below DIR (packages,
# trials). PIP_ARGS are passed to pip, for example "--no-index --find-links /media/wheels" on a machine without
# a network.
set -eu

prefix=/opt/hacluster
wheel=
action=install
while [ $# -gt 0 ]; do
    case $1 in
        --wheel) wheel=$2; shift 2 ;;
        --prefix) prefix=$2; shift 2 ;;
        --uninstall) action=uninstall; shift ;;
        *) echo "usage: $0 [--wheel FILE] [--prefix DIR] [--uninstall]" >&2; exit 2 ;;
    esac
done

dest=${DESTDIR:-}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
commands="ha-messaging ha-crm ha-lrm ha-sentinel ha-qnet hacli ha-agent"
units="hacluster.target ha-lrm.service ha-messaging.service ha-crm.service ha-sentinel.service ha-qnet.service"

# Exit code 1: a folder above the interpreter, wherever links lead, is closed to others (as root's own is).
reachable='
import pathlib, sys
path = pathlib.Path(sys.executable).resolve()
sys.exit(not all(one.stat().st_mode & 1 for one in (path, *path.parents)))
'

if [ -z "$dest" ] && [ "$(id -u)" != 0 ]; then
    echo "$0: run it as root (or set DESTDIR)" >&2
    exit 1
fi

uninstall() {
    if [ -z "$dest" ] && [ -d /run/systemd/system ]; then
        systemctl disable --now hacluster.target ha-sentinel.service ha-qnet.service ha-crm.service \
            ha-messaging.service ha-lrm.service || true
    fi
    for command in $commands; do
        rm -f "$dest/usr/sbin/$command"
    done
    for unit in $units; do
        rm -f "$dest/etc/systemd/system/$unit"
    done
    rm -f "$dest/usr/lib/sysusers.d/hacluster.conf" "$dest/usr/lib/tmpfiles.d/hacluster.conf"
    rm -f "$dest/usr/lib/ocf/resource.d/hacluster" "$dest/usr/share/man/man1/"hacli*.1
    rm -f "$dest/usr/share/bash-completion/completions/hacli" "$dest/usr/share/zsh/vendor-completions/_hacli"
    rm -f "$dest/usr/share/fish/vendor_completions.d/hacli.fish"
    rm -rf "$prefix"
    echo "removed; /etc/hacluster and /var/lib/hacluster are left"
}

install_all() {
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "$0: Python 3.11 or newer is needed (PYTHON=... names one)" >&2
        exit 1
    fi
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        echo "$0: $python cannot make virtual environments: apt-get install python3-venv" >&2
        exit 1
    fi
    if [ -x "$prefix/bin/python" ]; then python=$prefix/bin/python; fi
    if [ -z "$dest" ] && ! "$python" -c "$reachable"; then
        echo "$0: the services run as user hacluster, who cannot reach" \
            "$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')" >&2
        echo "name another Python: PYTHON=/usr/bin/python3 $0 (after --uninstall, if $prefix was made with it)" >&2
        exit 1
    fi
    [ -x "$prefix/bin/python" ] || "$python" -m venv "$prefix"
    if [ -z "$wheel" ]; then
        build=$(mktemp -d)
        trap 'rm -rf "$build"' EXIT
        # shellcheck disable=SC2086
        "$prefix/bin/pip" wheel --quiet --no-deps ${PIP_ARGS:-} --wheel-dir "$build" "$here/.."
        wheel=$(echo "$build"/hacluster-*.whl)
    fi
    # shellcheck disable=SC2086
    "$prefix/bin/pip" install --quiet --upgrade ${PIP_ARGS:-} "$wheel"

    mkdir -p "$dest/usr/sbin" "$dest/etc/systemd/system" "$dest/usr/lib/sysusers.d" "$dest/usr/lib/tmpfiles.d"
    for command in $commands; do
        ln -sfn "$prefix/bin/$command" "$dest/usr/sbin/$command"
    done
    for unit in $units; do
        install -m 0644 "$here/systemd/$unit" "$dest/etc/systemd/system/$unit"
    done
    install -m 0644 "$here/sysusers.d/hacluster.conf" "$dest/usr/lib/sysusers.d/hacluster.conf"
    install -m 0644 "$here/tmpfiles.d/hacluster.conf" "$dest/usr/lib/tmpfiles.d/hacluster.conf"
    install -D -m 0644 "$here/completion/hacli.bash" "$dest/usr/share/bash-completion/completions/hacli"
    install -D -m 0644 "$here/completion/_hacli" "$dest/usr/share/zsh/vendor-completions/_hacli"
    install -D -m 0644 "$here/completion/hacli.fish" "$dest/usr/share/fish/vendor_completions.d/hacli.fish"
    for page in "$here"/../docs/man/hacli*.1; do
        install -D -m 0644 "$page" "$dest/usr/share/man/man1/${page##*/}"
    done

    agents=$("$prefix/bin/python" -c 'import importlib.resources as r; print(r.files("agents") / "ocf/resource.d/hacluster")')
    mkdir -p "$dest/usr/lib/ocf/resource.d"
    ln -sfn "$agents" "$dest/usr/lib/ocf/resource.d/hacluster"

    [ -z "$dest" ] || exit 0
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers hacluster.conf
        systemd-tmpfiles --create hacluster.conf
    else
        getent group haclient >/dev/null || groupadd --system haclient
        getent passwd hacluster >/dev/null ||
            useradd --system --gid haclient --home-dir /var/lib/hacluster --shell /usr/sbin/nologin hacluster
        install -d -o hacluster -g haclient -m 0755 /run/hacluster
        install -d -m 1755 /run/resource-agents
        install -d -m 0755 /etc/hacluster /var/lib/hacluster
        install -d -o hacluster -g haclient -m 0750 /etc/hacluster/tls /var/log/hacluster
        for folder in messaging cib fencing revisions transitions; do
            install -d -o hacluster -g haclient -m 0750 "/var/lib/hacluster/$folder"
        done
        install -d -m 0700 /var/lib/hacluster/lrm
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
    fi
    cat <<'TEXT'
installed. Next, on one node:
    hacli cluster init ...        (or: hacli import heartbeat /etc/ha.d)
copy /etc/hacluster to the other nodes, then on each:
    systemctl enable --now hacluster.target ha-lrm ha-messaging ha-crm
TEXT
}

if [ "$action" = uninstall ]; then uninstall; else install_all; fi
