// TypeScript client 2.x: `node ts_client2.mjs URL TOKEN TOOL ARGUMENTS [auto|legacy]` prints the result as JSON.
// TOKEN may be empty. NODE_MODULES names the directory that holds the packages.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.NODE_MODULES}/driver.js`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { Client, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");

const [url, token, tool, args, mode] = process.argv.slice(2);
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const negotiation = mode === "legacy" ? {} : { versionNegotiation: { mode: "auto" } };
const client = new Client({ name: "driver-ts-client2", version: "1" }, { capabilities: {}, ...negotiation });
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
await client.connect(transport);
const { tools } = await client.listTools();
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) });
const version = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion;
console.log(JSON.stringify({ version, tools: tools.map((one) => one.name), result }));
await client.close();
