"""The Helm chart, rendered in several ways, against the schemas of Kubernetes and the gateway's settings, ports and paths.

    chart.py GATEWAY HELM: the program `tidewell`, and helm.
"""

import subprocess
import sys

import kubernetes_validate
import yaml

from known import DEPLOY, check, check_settings, default_ports, paths, problems

CHART = DEPLOY / "helm/tidewell"

# Oldest and newest Kubernetes.
VERSIONS = ("1.27.0", "1.37.0")

# Everything that can be switched on, and the least.
VARIANTS = {
    "least": ["allowUnauthenticated=true", "replicas=1"],
    "callers": ["callers.secret=callers"],
    "most": [
        "callers.secret=callers",
        "callers.key=file",
        "tls.secret=certificate",
        "tls.clientCertificates=optional",
        "serviceMonitor.keySecret.name=prometheus",
        "timescale.passwordSecret.name=timescale",
        "clickhouse.passwordSecret.name=clickhouse",
        "persistence.storageClass=fast",
        "serviceMonitor.enabled=true",
        "serviceMonitor.labels.release=prometheus",
        "networkPolicy.from[0].namespaceSelector.matchLabels.senders=yes",
        "service.type=LoadBalancer",
        "service.annotations.a=b",
        "settings.TIDEWELL_INGEST_MAX_REQUEST_BYTES=1048576",
        "podAnnotations.a=b",
        "nodeSelector.disk=local",
        "tolerations[0].operator=Exists",
        "imagePullSecrets[0].name=registry",
    ],
}

# Values that must not render, with a word of the reason.
REFUSED = {
    "settings.TIDEWELL_TIMESCALE_PASSWORD=x": "PASSWORD",
    "replicas=1": "callers.secret",
    "tls.clientCertificates=required": "clientCertificates",
    "replicas=0": "replicas",
    "replica=3": "replica",
    "settings.OTHER=x": "OTHER",
}


def render(helm: str, values: list[str]) -> subprocess.CompletedProcess:
    sets = [part for value in values for part in ("--set", value)]
    return subprocess.run([helm, "template", "release", str(CHART), *sets], capture_output=True, text=True, check=False)


def check_documents(variant: str, documents: list[dict], gateway: str) -> None:
    ports, kinds = default_ports(), {}
    for document in documents:
        kinds.setdefault(document["kind"], []).append(document)
        if document["kind"] == "ServiceMonitor":
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                check(False, f"{variant}: {document['kind']} in Kubernetes {version}: {error.message}")
    workload = kinds["StatefulSet"][0]
    pod = workload["spec"]["template"]
    container = pod["spec"]["containers"][0]
    labels = pod["metadata"]["labels"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    check(named == ports, f"{variant}: container ports {named}, the gateway listens on {ports}")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        request = container[probe]["httpGet"]
        check(request["path"] in paths() and request["port"] == "http", f"{variant}: {probe} asks {request}")
    selectors = [workload["spec"]["selector"]["matchLabels"], kinds["PodDisruptionBudget"][0]["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in kinds["Service"]]
    for selector in selectors:
        check(selector.items() <= labels.items(), f"{variant}: {selector} selects no gateway")
    check(workload["spec"]["serviceName"] in [one["metadata"]["name"] for one in kinds["Service"]], f"{variant}: its service is missing")
    values = kinds["ConfigMap"][0]["data"]
    check_settings(f"chart, {variant}", values, gateway)
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    for name in (name for name in values if name.endswith(("_FILE", "_DIRECTORY"))):
        check(any(values[name].startswith(path + "/") for path in mounts), f"{variant}: {values[name]} is not mounted")
    for monitor in kinds.get("ServiceMonitor", []):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        matching = [one for one in kinds["Service"] if wanted <= one["metadata"]["labels"].items()]
        check(len(matching) == 1, f"{variant}: the service monitor finds {len(matching)} services")
        endpoint = monitor["spec"]["endpoints"][0]
        check(endpoint["path"] in paths() and endpoint["port"] == "http", f"{variant}: it scrapes {endpoint}")


def main() -> None:
    gateway, helm = sys.argv[1:]
    linted = subprocess.run([helm, "lint", "--strict", "--quiet", "--set", "callers.secret=callers", str(CHART)], capture_output=True, text=True, check=False)
    check(linted.returncode == 0, linted.stdout)
    count = 0
    for variant, values in VARIANTS.items():
        rendered = render(helm, values)
        if rendered.returncode != 0:
            sys.exit(f"{variant}: {rendered.stderr}")
        documents = [document for document in yaml.safe_load_all(rendered.stdout) if document]
        count += len(documents)
        check_documents(variant, documents, gateway)
    for value, word in REFUSED.items():
        refused = render(helm, [value])
        check(refused.returncode != 0 and word in refused.stderr, f"{value} renders: {refused.stderr}")
    if problems:
        sys.exit("\n".join(problems))
    print(f"chart: {count} objects in {len(VARIANTS)} variants fit Kubernetes {' and '.join(VERSIONS)} and the gateway")


main()
