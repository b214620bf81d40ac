"""A client of the Python SDK, 1.x or 2.x: lists, calls what it may and what it may not. usage: client.py URL TOKEN"""
import asyncio
import json
import sys

url, token = sys.argv[1:3]
headers = {"Authorization": f"Bearer {token}"}


async def use(call, tools):
    allowed = await call("echo", {"message": "hello"})
    try:
        refused = str(await call("get-sum", {"a": 1, "b": 2}))
    except Exception as error:
        refused = str(error)
    print(json.dumps({"tools": [tool.name for tool in tools], "allowed": str(allowed.content[0].text), "refused": refused}))


async def old():
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client
    async with streamablehttp_client(url, headers=headers) as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            await use(session.call_tool, (await session.list_tools()).tools)


async def new():
    import httpx2 as httpx
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    async with httpx.AsyncClient(headers=headers) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            await use(client.call_tool, (await client.list_tools()).tools)


try:
    from mcp import Client
except ImportError:
    asyncio.run(old())
else:
    asyncio.run(new())
