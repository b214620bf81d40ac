"""A client of the Python SDK, 1.x or 2.x, that can show its user an address, and calls what a person must approve. It says each address that it is
shown, and goes on when it reads a line. usage: held.py URL TOKEN"""
import asyncio
import json
import sys

url, token = sys.argv[1:3]
headers = {"Authorization": f"Bearer {token}"}
payment = ("send_money", {"recipient": "Mallory", "amount": 5})


def say(what):
    print(json.dumps(what), flush=True)


async def show(address):
    say({"shown": address})
    await asyncio.to_thread(sys.stdin.readline)


async def asked(context, params):
    from mcp.types import ElicitResult
    await show(params.url)
    return ElicitResult(action="accept")


async def old():
    """In the era with sessions an error has the address, and the call is made again."""
    from mcp import ClientSession, McpError
    from mcp.client.streamable_http import streamablehttp_client
    from mcp.shared.exceptions import UrlElicitationRequiredError
    async with streamablehttp_client(url, headers=headers) as (read, write, _):
        async with ClientSession(read, write, elicitation_callback=asked) as session:
            await session.initialize()
            while True:
                try:
                    result = await session.call_tool(*payment)
                    break
                except McpError as error:
                    for one in UrlElicitationRequiredError.from_error(error.error).elicitations:
                        await show(one.url)
            say({"failed": result.isError})


async def new():
    """In the era without them the SDK asks and calls again by itself."""
    import httpx2 as httpx
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    async with httpx.AsyncClient(headers=headers) as http:
        async with Client(streamable_http_client(url, http_client=http), elicitation_callback=asked) as client:
            say({"failed": (await client.call_tool(*payment)).is_error})


try:
    from mcp import Client
except ImportError:
    asyncio.run(old())
else:
    asyncio.run(new())
