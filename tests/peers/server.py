"""A server with what the conformance suite asks for, both protocol eras. usage: server.py PORT"""
import base64
import sys
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import (
    AudioContent, BlobResourceContents, CreateMessageResult, EmbeddedResource, ImageContent, ListRootsResult, SamplingMessage, TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

PNG = base64.b64encode(bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)).decode()
WAV = base64.b64encode(b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00@\x1f\x00\x00\x01\x00\x08\x00data\x00\x00\x00\x00").decode()
server = MCPServer("made for tests")


class Name(BaseModel):
    name: str = Field(description="Your name")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    verified: bool = True


def text(words):
    return TextContent(type="text", text=words)


def embedded(uri, words):
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type="text/plain", text=words))


@server.tool()
def test_simple_text() -> str:
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> list[ImageContent]:
    return [ImageContent(type="image", data=PNG, mime_type="image/png")]


@server.tool()
def test_audio_content() -> list[AudioContent]:
    return [AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


@server.tool()
def test_embedded_resource() -> list[EmbeddedResource]:
    return [embedded("test://embedded-resource", "This is an embedded resource content.")]


@server.tool(structured_output=False)
def test_multiple_content_types():
    return [text("Multiple content types test:"), ImageContent(type="image", data=PNG, mime_type="image/png"),
            embedded("test://mixed-content-resource", '{"test":"data","value":123}')]


@server.tool()
def test_error_handling() -> str:
    raise ValueError("This tool intentionally returns an error for testing")


@server.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(words)
    return "done"


@server.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100, f"Completed step {progress} of 100")
    return "done"


@server.tool()
async def test_sampling(prompt: str, ctx: Context) -> str:
    answer = await ctx.session.create_message([SamplingMessage(role="user", content=text(prompt))], max_tokens=100)
    return f"LLM response: {answer.content.text}"


@server.tool()
async def test_elicitation(message: str, ctx: Context) -> str:
    answer = await ctx.elicit(message, Name)
    return f"User response: {answer.action}"


@server.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    answer = await ctx.elicit("Please review these defaults", Defaults)
    return f"Elicitation completed: {answer.action}"


@server.tool()
def test_reconnection() -> str:
    return "this server keeps its streams open"


@server.tool()
async def test_logging_tool(ctx: Context) -> str:
    await ctx.info("working")
    return "done"


def ask_name():
    return Elicit("What is your name?", Name)


def ask_model():
    return Sample([SamplingMessage(role="user", content=text("What is the capital of France?"))], max_tokens=100)


def ask_roots():
    return ListRoots()


@server.tool()
def test_streaming_elicitation(name: Annotated[Name, Resolve(ask_name)]) -> str:
    return f"Hello, {name.name}!"


@server.tool()
def test_input_required_result_elicitation(name: Annotated[Name, Resolve(ask_name)]) -> str:
    return f"Hello, {name.name}!"


@server.tool()
def test_input_required_result_sampling(answer: Annotated[CreateMessageResult, Resolve(ask_model)]) -> str:
    return f"The model said: {answer.content.text}"


@server.tool()
def test_input_required_result_list_roots(roots: Annotated[ListRootsResult, Resolve(ask_roots)]) -> str:
    return f"{len(roots.roots)} roots"


@server.tool()
def test_input_required_result_multiple_inputs(
    name: Annotated[Name, Resolve(ask_name)], answer: Annotated[CreateMessageResult, Resolve(ask_model)],
    roots: Annotated[ListRootsResult, Resolve(ask_roots)],
) -> str:
    return f"{name.name}, {answer.content.text}, {len(roots.roots)} roots"


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    return base64.b64decode(PNG)


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'


@server.prompt()
def test_simple_prompt():
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str):
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str):
    return [UserMessage(embedded(resourceUri, "Embedded resource content for testing.")), UserMessage("Please process the embedded resource above.")]


@server.prompt()
def test_prompt_with_image():
    return [UserMessage(ImageContent(type="image", data=PNG, mime_type="image/png")), UserMessage("Please analyze the image above.")]


@server.completion()
async def complete(ref, argument, context):
    from mcp_types import Completion
    return Completion(values=["test"], total=1, has_more=False)


uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
