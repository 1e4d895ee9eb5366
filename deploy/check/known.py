"""What the sources say of settings, ports and paths, for the checks beside this file."""

import re
import subprocess
import tempfile
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent

problems: list[str] = []


def check(holds: bool, problem: str) -> None:
    """Notes a problem; all are told at the end."""
    if not holds:
        problems.append(problem)


def settings() -> dict[str, str]:
    """Every variable of the gateway with its default, from the generated example."""
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    return dict(re.match(r"#(TIDEWELL_[A-Z_]+)=(.*)", line).groups() for line in lines if line.startswith("#TIDEWELL_"))


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


def default_ports() -> dict[str, int]:
    """`http` and `grpc`, where the gateway listens unless it is told otherwise."""
    known = settings()
    return {name: port_of(known[f"TIDEWELL_{name.upper()}_LISTEN"]) for name in ("http", "grpc")}


def paths() -> set[str]:
    """Paths that the gateway answers a GET at."""
    source = (ROOT / "gateway/src/receive/operation.rs").read_text()
    return set(re.findall(r'\.route\("([^"]+)", get\(', source))


def variables_in(text: str) -> set[str]:
    """Names of settings that a text mentions."""
    return set(re.findall(r"TIDEWELL_[A-Z][A-Z_]*[A-Z]", text)) - {"TIDEWELL_CONFIG", "TIDEWELL_ENV_FILE"}


def check_settings(where: str, values: dict[str, str], gateway: str) -> None:
    """Asks the gateway itself whether it could run with these variables."""
    for name in values:
        check(name in settings(), f"{where}: {name} is no setting")
    with tempfile.NamedTemporaryFile("w") as secret:
        # The files of secrets are where the containers are: another one stands in.
        secret.write("a secret")
        secret.flush()
        values = {name: secret.name if name.endswith("_FILE") else str(value) for name, value in values.items()}
        asked = subprocess.run([gateway, "config", "check"], env=values, capture_output=True, text=True, check=False)
    check(asked.returncode == 0, f"{where}: the gateway refuses its settings: {asked.stderr.strip()}")
