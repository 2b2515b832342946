"""Runs the commands of the documentation (`cdk bootstrap`, `deploy`, `diff`) against an emulator of AWS on this machine.

`python emulated.py <program of the emulator> <cdk>`. Types that the emulator does not have are named below and taken out of the
templates; any other one that it refuses fails the deployment, and so does whatever `diff` still finds afterwards.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from app import build

ACCOUNT, REGION, NAME = "123456789012", "eu-central-1", "billing-lake"
NOT_EMULATED = {"AWS::EC2::FlowLog", "AWS::EC2::SecurityGroupIngress"}
STACKS = (f"{NAME}-lake", f"{NAME}-dagster")
"""Exports are left out whole: the emulator has neither of their types."""

_SECONDS_TO_START = 120


def _without_missing_types(folder: Path) -> None:
    for stack in STACKS:
        file = folder / f"{stack}.template.json"
        template = json.loads(file.read_text(encoding="utf-8"))
        gone = {key for key, one in template["Resources"].items() if one["Type"] in NOT_EMULATED}
        for key in gone:
            del template["Resources"][key]
        for one in template["Resources"].values():
            if "DependsOn" in one:
                needed = (
                    one["DependsOn"] if isinstance(one["DependsOn"], list) else [one["DependsOn"]]
                )
                one["DependsOn"] = [key for key in needed if key not in gone]
        file.write_text(json.dumps(template), encoding="utf-8")


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_ministack/health", timeout=2):  # noqa: S310 -- our own
                return
        except OSError:
            time.sleep(0.5)
    sys.exit("The emulator does not answer")


def main(emulator: str, cdk: list[str]) -> int:
    """Deploy to an emulator that is started for it; return the exit status of the first command that failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Buckets become host names, which *.localhost resolves.
    address = f"http://localhost:{port}"
    inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    settings = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
    }
    credentials = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ENDPOINT_URL_S3": address,
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "localhost,.localhost,127.0.0.1",
    }
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        app = build(
            str(out),
            {
                "account": ACCOUNT,
                "region": REGION,
                "name": NAME,
                "exports": "none",
                "image": "example.com/billing-lake:1",
            },
        )
        app.synth()
        _without_missing_types(out)
        with subprocess.Popen(
            [emulator], env=inherited | settings, cwd=place, stdout=subprocess.DEVNULL
        ) as process:
            try:
                _wait(address, process)
                for arguments in (
                    ["bootstrap", f"aws://{ACCOUNT}/{REGION}"],
                    [
                        "deploy",
                        *STACKS,
                        "--require-approval",
                        "never",
                        "--outputs-file",
                        f"{place}/outputs.json",
                    ],
                    ["diff", "--fail", *STACKS],
                ):
                    command = [*map(os.path.abspath, cdk), *arguments, "--app", str(out)]
                    sys.stdout.write(f"\n== cdk {' '.join(arguments)}\n")
                    sys.stdout.flush()
                    done = subprocess.run(
                        command, env=inherited | credentials, cwd=place, check=False
                    )
                    if done.returncode:
                        return done.returncode
                outputs = json.loads(Path(place, "outputs.json").read_text(encoding="utf-8"))
                sys.stdout.write(f"{len(outputs[STACKS[0]])} outputs of the lake\n")
            finally:
                process.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
