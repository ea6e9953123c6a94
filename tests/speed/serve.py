"""How many posts a second `mmre serve` answers, and how long each waits, with batches and one by one, on loopback.

    python tests/speed/serve.py outputs/quickstart --clients 1 8 32 --seconds 20

Two servers of one model run at once: one puts what arrives together into one call of the model, the other
(`--batch_size 1 --max_wait_ms 0`) makes one call at a time. They are asked in turn, never together. Each client sends
one synthetic post with its picture, in base64, and sends the next when it has the answer. Clients and servers share the
processors; the last column, the time that the server has a processor for each post, counts no other work.
"""

import argparse
import base64
import http.client
import io
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time

import psutil

from mmre.posts import make_synthetic_posts

WAYS = {"batches": [], "one by one": ["--batch_size", "1", "--max_wait_ms", "0"]}
POSTS = 64


def bodies() -> list[bytes]:
    """Make requests, each of one synthetic post with its picture."""
    made = []
    for post in make_synthetic_posts(num_train=0, num_validation=0, num_test=POSTS)["test"]:
        file = io.BytesIO()
        post["image"].save(file, "PNG")
        spans = {name: [post[name]["start"], post[name]["end"]] for name in ("head", "tail")}
        image = base64.b64encode(file.getvalue()).decode()
        made.append(json.dumps({"posts": [{"text": post["text"], "image": image, **spans}]}).encode())
    return made


def start(model: str, options: list[str]) -> tuple[subprocess.Popen, int]:
    """Start a server, and return its process and its port."""
    words = [sys.executable, "-m", "mmre.cli.main", "serve", model, "--port", "0", *options]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    port = re.search(r":(\d+) \(", process.stdout.readline())
    if port is None:
        sys.exit(f"mmre serve {model} has not started: run it by itself to see why")
    return process, int(port[1])


def ask(port: int, requests: list[bytes], clients: int, seconds: float) -> tuple[float, list[float]]:
    """Let clients ask for some seconds; return the seconds that it took, and those of each answer."""
    times, end = [], time.perf_counter() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        while time.perf_counter() < end:
            begun = time.perf_counter()
            connection.request("POST", "/predict", requests[number % POSTS], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")
            times.append(time.perf_counter() - begun)
            number += clients

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun, sorted(times)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a model")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    requests, servers = bodies(), {}
    try:
        for way, options in WAYS.items():
            servers[way] = start(args.model, options)
            ask(servers[way][1], requests, 2, 1.0)  # the first calls of a model are slow
        load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
        print(f"{platform.machine()} {platform.system()}, {os.cpu_count()} processors, load {load} before the clients")
        columns = [
            "clients",
            "way",
            "posts a second",
            "p50, ms",
            "p95, ms",
            "p99, ms",
            "answers",
            "processor, ms a post",
        ]
        print(f"| {' | '.join(columns)} |\n|--:|---|{'--:|' * 6}", flush=True)
        for clients in args.clients:
            for way, (process, port) in servers.items():
                before = sum(psutil.Process(process.pid).cpu_times()[:2])
                seconds, times = ask(port, requests, clients, args.seconds)
                used = sum(psutil.Process(process.pid).cpu_times()[:2]) - before
                points = (times[min(len(times) - 1, int(share * len(times)))] * 1000 for share in (0.5, 0.95, 0.99))
                cells = [clients, way, f"{len(times) / seconds:.1f}", *(f"{point:.0f}" for point in points), len(times)]
                cells.append(f"{used / len(times) * 1000:.1f}")
                print(f"| {' | '.join(map(str, cells))} |", flush=True)
    finally:
        for process, _ in servers.values():
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
