"""The floor: an aiohttp server that hands each body straight to an aiohttp client, and keeps nothing.

`python floor.py URL KEY` prints the port that it took and serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import aiohttp
from aiohttp import web
from fastest import run


async def serve(url: str, key: str) -> None:
    """Take bodies, hand them on, answer when the target has answered."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def hand_on(request: web.BaseRequest) -> web.Response:
            body = await request.read()
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
                return web.Response(status=response.status, body=b"{}", content_type="application/json")

        runner = web.ServerRunner(web.Server(hand_on, access_log=None), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        gc.collect()
        gc.freeze()
        print(runner.addresses[0][1], flush=True)
        await stop.wait()
        await runner.cleanup()


if __name__ == "__main__":
    run(serve(sys.argv[1], sys.argv[2]))
