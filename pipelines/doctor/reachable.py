"""Checks over the network: an LLM endpoint and a Ray cluster. They make no paid call, and start nothing.

No reply of an endpoint is shown, because it may repeat the key.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress

from tagcorpus.pipelines.doctor.installation import Finding, exit_text

ENDPOINT_SECONDS = 10.0
CONNECT_SECONDS = 5.0
RAY_SECONDS = 60.0

SEE_SERVER = "check that the server runs, and check --base-url / OPENAI_BASE_URL"
START_RAY = "start a cluster (ray start --head), or name one with --ray-address / RAY_ADDRESS"


def endpoint(base_url: str | None) -> Finding:
    """Ask for the list of models, which is free, through the client of a run.

    Raises ConfigError for an address or a key that cannot be valid.
    """
    from tagcorpus.taggers._llm.endpoint import key_for
    from tagcorpus.taggers._llm.url import OFFICIAL, checked_url

    name, url = "LLM endpoint", checked_url(base_url or OFFICIAL)
    try:
        models = asyncio.run(_models(url, key_for(url)))
    except TimeoutError:
        return Finding(name, "broken", f"{url} does not answer within {ENDPOINT_SECONDS:.0f} s", SEE_SERVER)
    except ImportError:
        raise
    except Exception as error:
        return _refusal(name, url, error)
    shown = ", ".join(models[:4]) + (", ..." if len(models) > 4 else "")
    return Finding(name, "ok", f"{url} answers; models: {shown or 'none listed'}")


async def _models(url: str, key: str) -> list[str]:
    from tagcorpus.taggers._llm.endpoint import Settings, build_client

    client = build_client(Settings(base_url=url, model="", concurrency=1), key)
    try:
        page = await asyncio.wait_for(client.sdk.models.list(), ENDPOINT_SECONDS)
        return [str(m.id) for m in page.data or ()]
    finally:
        with suppress(Exception):
            await client.sdk.close()


def _refusal(name: str, url: str, error: Exception) -> Finding:
    code = getattr(error, "status_code", None)
    if code in (401, 403):
        return Finding(name, "broken", f"{url} refuses the key (HTTP {code})", "set OPENAI_API_KEY to a valid key")
    if code in (404, 405, 501):
        fix = "check --base-url: most end in /v1"
        return Finding(name, "warning", f"{url} answers, but lists no models (HTTP {code})", fix)
    if code is not None:
        return Finding(name, "broken", f"{url} answers with HTTP {code}", "look at the server's log")
    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    return Finding(name, "broken", f"{url} cannot be reached ({type(first).__name__})", SEE_SERVER)


def ray_cluster(address: str) -> Finding:
    """Join a running cluster, and compare the versions on its nodes with the versions here. This happens in another process,
    because joining can hang, and cannot be undone."""
    name = "ray cluster"
    if address == "local":
        message = "RAY_ADDRESS=local starts a new cluster for every run, so no cluster is checked"
        return Finding(name, "warning", message, START_RAY)
    # Ray waits for a minute if nothing listens at the address.
    if (at := re.fullmatch(r"(?:ray://)?([\w.\-]+|\[[\da-fA-F:]+\]):(\d+)", address)) is not None:
        try:
            socket.create_connection((at[1].strip("[]"), int(at[2])), timeout=CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            return Finding(name, "broken", f"{address} cannot be reached: {error}", START_RAY)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tagcorpus.pipelines.execution.ray_nodes", address],
            capture_output=True,
            cwd=tempfile.gettempdir(),
            timeout=RAY_SECONDS,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(name, "broken", f"{address} does not answer within {RAY_SECONDS:.0f} s", START_RAY)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"ray_nodes"')]
    if not lines:
        errors = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return Finding(name, "broken", f"{address}: {errors[-1] if errors else exit_text(done.returncode)}", START_RAY)
    answer = json.loads(lines[-1])
    return compared(address, answer["own"], answer["ray_nodes"])


def compared(address: str, own: Mapping[str, str], nodes: Mapping[str, Mapping[str, str]]) -> Finding:
    """Compare versions by package, here (`own`) and on every node."""
    differing = []
    for node, versions in sorted(nodes.items()):
        others = [f"{k} {versions.get(k, 'missing')} (here {v})" for k, v in own.items() if versions.get(k) != v]
        if others:
            differing.append(f"{node} has {', '.join(others)}")
    if differing:
        return Finding("ray cluster", "broken", "; ".join(differing), "install the same versions on every node")
    message = f"{address}: {len(nodes)} node{'s' * (len(nodes) != 1)}, same versions on all"
    return Finding("ray cluster", "ok", message)
