"""Attacks a gateway with everything in this folder while a good sender goes on: run.py PROGRAM FOLDER HTTP_PORT GRPC_PORT [CLASS ..]

The last line is JSON: attacks tried by class, how many succeeded, and the most memory that the gateway took. Exit code 1
when any succeeded. An attack succeeds when it gets in, when the good sender is refused or not answered, when the
gateway ends, when it takes more memory than it may, or when a key stands in its log.
"""

import json
import sys
from pathlib import Path

import access
import exhaustion
from gateway import KEYS, MOST_MEMORY_MB, Gateway

CLASSES = {
    "no_credential": access.without_a_credential,
    "beyond_scope": access.beyond_a_scope,
    "odd_paths": access.odd_paths,
    "grpc_access": access.over_grpc,
    "server_side_requests": access.other_hosts,
    "injection": access.injection,
    "decompression": exhaustion.bodies,
    "nesting": exhaustion.nesting,
    "lies": exhaustion.lies,
    "slow_senders": exhaustion.slowness,
    "connections": exhaustion.connections,
    "http2_floods": exhaustion.http2_floods,
}


def main() -> None:
    program, folder, http_port, grpc_port, *only = sys.argv[1:]
    gateway = Gateway(program, Path(folder), int(http_port), int(grpc_port))
    counts, succeeded = {}, []
    try:
        gateway.wait_until_ready()
        gateway.sender.start()
        for name, attacks in CLASSES.items():
            if only and name not in only:
                continue
            before, harm = gateway.peak_memory_mb(), len(gateway.failures)
            found = list(attacks(gateway))
            counts[name] = len(found)
            won = [what for what, has_won in found if has_won]
            succeeded += [f"{name}: {what}" for what in won]
            ended = gateway.process.poll() is not None
            print(f"{name:21} {len(found):4} tried, {len(won)} succeeded; memory {before} to {gateway.peak_memory_mb() if not ended else '-'} MB, good sender failed {len(gateway.failures) - harm} times", flush=True)
            if ended:
                succeeded.append(f"{name}: the gateway ended with {gateway.process.returncode}")
                break
        peak = gateway.peak_memory_mb() if gateway.process.poll() is None else -1
        gateway.stopping.set()
        gateway.sender.join()
        log = gateway.log.read_text(errors="replace")
        counts["secrets_in_log"] = len(KEYS)
        succeeded += [f"secrets_in_log: the key of {name}" for name, key in KEYS.items() if key in log]
        succeeded += [f"good sender: {failure}" for failure in sorted(set(gateway.failures))]
        if "panicked" in log:
            succeeded.append("a panic is in the log")
        if not 0 <= peak <= MOST_MEMORY_MB:
            succeeded.append(f"the gateway took {peak} MB, more than {MOST_MEMORY_MB}")
        print(f"good sender: {gateway.sent} requests, the slowest took {gateway.slowest:.2f} s")
    finally:
        code = gateway.end()
    if code != 0:
        succeeded.append(f"the gateway ended with {code}")
    for what in succeeded:
        print(f"SUCCEEDED  {what}")
    print(json.dumps({"attacks": counts, "succeeded": len(succeeded), "peak_memory_mb": peak}))
    sys.exit(1 if succeeded else 0)


main()
