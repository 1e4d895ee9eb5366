"""The compose files, with everything they mount, against the gateway's settings, ports and paths.

    compose.py GATEWAY NORMALIZER: the program `tidewell`, and the one that reads compose files as Docker does.
"""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import yaml

from known import DEPLOY, ROOT, check, check_settings, default_ports, paths, port_of, problems, settings, variables_in


def read(normalizer: str, path: Path) -> dict:
    # Docker begins relative paths at the file, this program where it is started.
    command = [normalizer, "-format", "json", path.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{path.name}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def check_image(where: str, service: dict) -> None:
    image = service["image"]
    name, _, tag = image.partition(":")
    check(bool(re.fullmatch(r"v?\d[\w.-]*", tag)), f"{where}: {image} is not pinned to a version")
    check("." not in name.split("/")[0], f"{where}: {image} names a registry")


def check_mounts(where: str, service: dict, volumes: dict, used: set[str]) -> None:
    for mount in service.get("volumes") or []:
        if mount["type"] == "volume":
            used.add(mount["source"])
            check(mount["source"] in volumes, f"{where}: volume {mount['source']} is not declared")
        elif mount["source"].startswith(str(ROOT)):
            check(Path(mount["source"]).exists(), f"{where}: {mount['source']} does not exist")
            check(mount.get("read_only", False), f"{where}: {mount['source']} can be written to")
            if Path(mount["source"]).suffix == ".xml":
                xml.etree.ElementTree.parse(mount["source"])


def check_services(path: Path, compose: dict, gateway: str) -> None:
    ports, used, services = default_ports(), set(), compose["services"]
    for name, service in services.items():
        where = f"{path.name}: {name}"
        check_image(where, service)
        check_mounts(where, service, compose["volumes"], used)
        for published in service.get("ports") or []:
            check(published.get("host_ip") == "127.0.0.1", f"{where}: port {published['target']} is open to the network")
        if not service["image"].startswith("tidewell:") or not service.get("environment"):
            continue
        values = service["environment"]
        check_settings(where, values, gateway)
        for protocol, port in ports.items():
            listen = port_of(values[f"TIDEWELL_{protocol.upper()}_LISTEN"])
            check(listen == port, f"{where}: listens on {listen} for {protocol}, the image exposes {port}")
        check(service.get("read_only") and service.get("cap_drop") == ["ALL"], f"{where}: is not confined")
        secrets = [value for variable, value in values.items() if variable.endswith("_FILE")]
        targets = [mount["target"] for mount in service["volumes"]]
        for secret in secrets:
            check(any(secret.startswith(target + "/") for target in targets), f"{where}: {secret} is not mounted")
    for unused in set(compose["volumes"]) - used:
        check(False, f"{path.name}: volume {unused} is used by nobody")


def made_secrets() -> set[str]:
    """Files that secrets.sh makes."""
    script = (DEPLOY / "compose/secrets.sh").read_text()
    return set(re.findall(r"(?:keep|cp \S+|mv \S+\.new) ([\w-]+/[\w.-]+)", script))


def check_secrets() -> None:
    """Each file that a service reads a secret from is one that is made."""
    made = made_secrets()
    texts = [path.read_text() for path in DEPLOY.glob("compose*.yaml")]
    texts += [path.read_text() for path in (DEPLOY / "compose").rglob("*") if path.is_file()]
    for text in texts:
        for name in re.findall(r"/run/secrets/([\w-]+/[\w.-]+)", text):
            check(name in made, f"/run/secrets/{name} is read, and secrets.sh does not make it")


def check_targets() -> None:
    """Ports and paths that the files beside the compose files name are the gateway's."""
    ports = default_ports()
    expose = re.search(r"^EXPOSE (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE).group(1).split()
    check(sorted(map(int, expose)) == sorted(ports.values()), f"Dockerfile exposes {expose}, the gateway listens on {ports}")
    for path in re.findall(r"GET (/\w+)", (DEPLOY / "Dockerfile").read_text() + (DEPLOY / "compose/haproxy.cfg").read_text()):
        check(path in paths() | {"/replicas_status"}, f"{path} is asked for, and the gateway does not answer there")
    vector = yaml.safe_load((DEPLOY / "compose/vector.yaml").read_text())
    for name, sink in vector["sinks"].items():
        backend, _, key = sink["auth"]["token"].removeprefix("SECRET[").removesuffix("]").partition(".")
        kept = f"{vector['secret'][backend]['path'].removeprefix('/run/secrets/')}/{key}"
        check(kept in made_secrets(), f"vector.yaml: {name} uses {kept}, which secrets.sh does not make")
        for uri in (sink["uri"], sink["healthcheck"]["uri"]):
            check(f"tidewell:{ports['http']}/" in uri, f"vector.yaml: {name} sends to {uri}")
    prometheus = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text())
    discovery = prometheus["scrape_configs"][0]["dns_sd_configs"][0]
    check(discovery["port"] == ports["http"], f"prometheus.yml asks port {discovery['port']}")
    check("/metrics" in paths(), "the gateway has no /metrics")
    for protocol, port in ports.items():
        backend = (DEPLOY / "compose/haproxy.cfg").read_text().split(f"\nbackend gateways_{protocol}\n")[1].split("\n\n")[0]
        servers = re.findall(r"server (\S+) (\S+):(\d+)", backend)
        check(len(servers) == 3 and all(name == host and int(to) == port for name, host, to in servers), f"haproxy.cfg: {protocol} goes to {servers}")


def main() -> None:
    gateway, normalizer = sys.argv[1:]
    for path in sorted(DEPLOY.glob("compose*.yaml")):
        check_services(path, read(normalizer, path), gateway)
    check_secrets()
    check_targets()
    for path in [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix not in {".py", ".rs"}]:
        if "embedded" in path.parts or "demo" in path.parts:
            continue
        for name in variables_in(path.read_text()) - set(settings()):
            check(name.startswith("TIDEWELL_TEST_"), f"{path.relative_to(ROOT)}: {name} is no setting")
    if problems:
        sys.exit("\n".join(problems))
    print(f"compose: {len(list(DEPLOY.glob('compose*.yaml')))} files with what they mount fit the gateway's settings, ports and paths")


main()
