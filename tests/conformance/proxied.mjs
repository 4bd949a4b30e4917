// The unmodified npm clients behind a TLS proxy; prints `> ` and JSON, one observation per line.
// Usage: node proxied.mjs <ignored> <https address>
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");

const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const url = process.argv[3];
const { messages } = anyApi;
const name = `proxied ${url}`;

const live = new ConvexClient(url);
const seen = [];
let wake = () => {};
live.onUpdate(messages.count, { name }, (value) => {
  seen.push(value);
  wake();
});
const counted = async (count) => {
  while (seen.at(-1) !== count) await new Promise((resolve) => (wake = resolve));
  return count;
};
say("first", await counted(0));
await live.mutation(messages.increment, { name });
say("live", await counted(1));
say("over http", await new ConvexHttpClient(url).query(messages.count, { name }));
const hello = await fetch(`${url}/http/hello?name=ann`);
say("http action", (await hello.text()).startsWith("hello ann of https://"));
const streamed = await fetch(`${url}/http/stream`);
say("streamed", await streamed.text());
await live.close();
