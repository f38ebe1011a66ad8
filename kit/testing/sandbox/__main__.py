"""`python -m kit.testing.sandbox`: run the sandbox until it is told to stop.

Prints one line of JSON with its addresses once it accepts connections, and ends with code 0 on SIGTERM or
SIGINT.
"""

import argparse
import asyncio
import json
import os
import signal
import sys

from kit.testing.sandbox.app import WEBHOOK_SECRET
from kit.testing.sandbox.server import Sandbox


async def serve(options: argparse.Namespace) -> None:
    """Run the sandbox until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Sandbox.start(
        host=options.host,
        port=options.port,
        smtp_port=options.smtp_port,
        webhook_secret=options.webhook_secret,
    ) as sandbox:
        addresses = {
            "url": sandbox.url,
            "webhook_url": sandbox.webhook_url,
            "webhook_secret": sandbox.webhook_secret,
            "smtp_host": sandbox.smtp_host,
            "smtp_port": sandbox.smtp_port,
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m kit.testing.sandbox", description="Run the sandbox providers.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="HTTP port; 0 takes a free one")
    parser.add_argument("--smtp-port", type=int, default=0, help="SMTP port; 0 takes a free one")
    parser.add_argument("--webhook-secret", default=WEBHOOK_SECRET, help="Standard Webhooks secret (whsec_...)")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
