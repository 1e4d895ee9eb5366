# shellcheck shell=bash
# To be sourced, after deploy/environment.sh: installs what the demo sends with, into .tools.

readonly tools=.tools/demo unpacked_packages=.tools/packages
mkdir -p "$tools" "$unpacked_packages"

# The marker of an installation is the list it was made from: a changed list installs anew.
current() { cmp --silent "$1" "$2"; }

install_python() {
    local marker=$tools/python/requirements.txt
    if ! current deploy/demo/requirements.txt "$marker"; then
        echo "  Python packages: OpenTelemetry SDK, pyarrow, grpcio (60 MB, half a minute)"
        python3 -m venv --clear "$tools/python"
        "$tools/python/bin/pip" install --quiet --disable-pip-version-check -r deploy/demo/requirements.txt
        cp deploy/demo/requirements.txt "$marker"
    fi
    mkdir -p "$tools/generated"
    "$tools/python/bin/python" -m grpc_tools.protoc -I proto --python_out="$tools/generated" \
        --grpc_python_out="$tools/generated" proto/tidewell/v1/ingest.proto
}

install_node() {
    mkdir -p "$tools/node"
    cp deploy/demo/over_otlp_json.mjs "$tools/node/"
    if ! current deploy/demo/package-lock.json "$tools/node/installed-lock.json"; then
        echo "  Node.js packages: OpenTelemetry SDK (20 MB)"
        cp deploy/demo/package.json deploy/demo/package-lock.json "$tools/node/"
        npm ci --prefix "$tools/node" --silent --no-audit --no-fund
        cp deploy/demo/package-lock.json "$tools/node/installed-lock.json"
    fi
}

download() { (cd "$1" && apt-get download "$2" && dpkg -x ./*.deb . && rm ./*.deb); }

# A program of a Debian package, unpacked and not installed: no service is left behind on the machine.
unpack_package() {
    local name=$1 unpacked=$unpacked_packages/$1 log=$unpacked_packages/$1.log
    if [[ ! -x $unpacked/usr/bin/$name ]]; then
        echo "  $name"
        rm -rf "$unpacked" && mkdir -p "$unpacked"
        # The lists of packages may be missing, or name a version that is gone.
        if ! download "$unpacked" "$name" >"$log" 2>&1 && ! { apt-get update && download "$unpacked" "$name"; } >"$log" 2>&1; then
            echo "$name cannot be had; the end of $log:" >&2
            tail -n 5 "$log" >&2
            exit 1
        fi
    fi
}
