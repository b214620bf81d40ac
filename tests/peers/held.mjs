// A client of the TypeScript SDK that can show its user an address, and calls what a person must approve. It says each address that it is shown, and
// goes on when it reads a line. usage: SDK=…/@modelcontextprotocol/sdk held.mjs URL TOKEN
import { createInterface } from "node:readline";

const [url, token] = process.argv.slice(2);
const sdk = (file) => import(`${process.env.SDK}/dist/esm/${file}`);
const { Client } = await sdk("client/index.js");
const { StreamableHTTPClientTransport } = await sdk("client/streamableHttp.js");
const { UrlElicitationRequiredError } = await sdk("types.js");

const input = createInterface({ input: process.stdin });
const lines = input[Symbol.asyncIterator]();
const say = (what) => console.log(JSON.stringify(what));
const client = new Client({ name: "test", version: "1" }, { capabilities: { elicitation: { url: {} } } });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } }));
let result;
while (!result) {
  try {
    result = await client.callTool({ name: "send_money", arguments: { recipient: "Mallory", amount: 5 } });
  } catch (error) {
    if (!(error instanceof UrlElicitationRequiredError)) throw error;
    for (const { url } of error.elicitations) {
      say({ shown: url });
      await lines.next();
    }
  }
}
say({ failed: result.isError ?? false });
input.close();
await client.close();
