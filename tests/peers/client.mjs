// A client of the TypeScript SDK: lists, calls what it may and what it may not. usage: SDK=…/@modelcontextprotocol/sdk client.mjs URL TOKEN
const [url, token] = process.argv.slice(2);
const sdk = (file) => import(`${process.env.SDK}/dist/esm/client/${file}`);
const { Client } = await sdk("index.js");
const { StreamableHTTPClientTransport } = await sdk("streamableHttp.js");

const client = new Client({ name: "test", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } }));
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const allowed = (await client.callTool({ name: "echo", arguments: { message: "hello" } })).content[0].text;
let refused;
try {
  refused = JSON.stringify(await client.callTool({ name: "get-sum", arguments: { a: 1, b: 2 } }));
} catch (error) {
  refused = String(error);
}
console.log(JSON.stringify({ tools, allowed, refused }));
await client.close();
