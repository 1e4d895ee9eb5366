#!/usr/bin/env python3
"""Runs the `tests` of a Vector configuration without Vector, and looks over its wiring: check.py FILE ..

The programs are run by VRL itself, through the package vrl-python. A test goes from one remap transform through the
routes behind it; that is all that the tests here need. Where there is a Vector, `vector test FILE` runs them as well.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from vrl_python import VRLRuntime

HERE = Path(__file__).parent


class Configuration:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._all: dict[str, Any] = yaml.safe_load(path.read_text())
        self.transforms: dict[str, Any] = self._all["transforms"]
        self.tests: list[Any] = self._all["tests"]

    def program(self, transform: str) -> str:
        """The VRL of a remap transform."""
        settings = self.transforms[transform]
        return settings["source"] if "source" in settings else (HERE / settings["file"]).read_text()

    def mistakes(self) -> list[str]:
        """What is wrong with the wiring: inputs that are not there, sinks that could lose what they hold."""
        outputs = set(self._all["sources"])
        for name, source in self._all["sources"].items():
            if source["type"] == "opentelemetry":
                outputs |= {f"{name}.{signal}" for signal in ("logs", "metrics", "traces")}
        for name, transform in self.transforms.items():
            outputs.add(name)
            if transform["type"] == "route":
                outputs |= {f"{name}.{route}" for route in [*transform["route"], "_unmatched"]}
        found, used = [], set()
        for name, part in [*self.transforms.items(), *self._all["sinks"].items()]:
            used |= set(part["inputs"])
            found += [f"{name} reads {wanted}, which nothing gives" for wanted in part["inputs"] if wanted not in outputs]
        for name, transform in self.transforms.items():
            routes = {f"{name}.{route}" for route in transform.get("route", {})}
            found += [f"nothing reads {route}: its events are lost" for route in sorted(routes - used)]
        for name, sink in self._all["sinks"].items():
            if sink["buffer"] != {"type": "disk", "max_size": sink["buffer"]["max_size"], "when_full": "block"}:
                found.append(f"{name} does not keep on disk what it holds, or drops it when it is full")
            if not sink["acknowledgements"]["enabled"] or not sink["healthcheck"]["enabled"]:
                found.append(f"{name} has no acknowledgements or no health check")
        for name, transform in self.transforms.items():
            if transform["type"] == "remap":
                VRLRuntime().compile(self.program(name))
        return found

    def run(self, test: dict[str, Any]) -> list[str]:
        """Runs one test; sentences about what does not hold."""
        found = []
        for given in test["inputs"]:
            for output in test["outputs"]:
                program = self.program(given["insert_at"])
                wanted_by, _, route = output["extract_from"].partition(".")
                if route:
                    taken = self._routes(program, wanted_by, given["log_fields"])
                    if taken != [route]:
                        found.append(f"the event goes to {taken or ['_unmatched']} and not to {route}")
                        continue
                for condition in output["conditions"]:
                    # In one program with the transform, so that types of VRL stay what they are.
                    try:
                        VRLRuntime().execute(f"{program}\n{condition['source']}", dict(given["log_fields"]))
                    except Exception as error:  # noqa: BLE001, the package has no common base of its errors
                        found.append(str(error))
        return found

    def _routes(self, program: str, transform: str, event: dict[str, Any]) -> list[str]:
        routes = self.transforms[transform]["route"]
        taken = [
            name
            for name, condition in routes.items()
            if VRLRuntime().execute(f"{program}\n{condition}", dict(event)).runtime_result
        ]
        return taken or ["_unmatched"]


def main() -> int:
    failed = tests = 0
    for name in sys.argv[1:]:
        configuration = Configuration(Path(name))
        for mistake in configuration.mistakes():
            failed += 1
            print(f"{name}: {mistake}")
        for test in configuration.tests:
            tests += 1
            for sentence in configuration.run(test):
                failed += 1
                print(f"{name}, {test['name']}: {sentence}")
    print(f"{tests} tests, {failed} mistakes")
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
