// TypeScript SDK 1.x: `node ts_sdk1.mjs URL TOKEN TOOL ARGUMENTS` prints the result as JSON. TOKEN may be empty.
// NODE_MODULES names the directory that holds the packages.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.NODE_MODULES}/driver.js`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");

const [url, token, tool, args] = process.argv.slice(2);
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const client = new Client({ name: "driver-ts-sdk1", version: "1" }, { capabilities: {} });
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
await client.connect(transport);
const { tools } = await client.listTools();
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) });
console.log(JSON.stringify({ version: transport.protocolVersion, tools: tools.map((one) => one.name), result }));
await client.close();
