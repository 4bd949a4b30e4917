// What a live client sees of the deployment's addresses while an operator changes them; prints `> ` and JSON.
// Usage: node addresses.mjs <url> <admin key> <other cloud url> <other site url>
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient } = require("convex/browser");
const { anyApi } = require("convex/server");

const say = (what, value) => console.log("> " + JSON.stringify([what, value]));
const [url, key, cloud, site] = process.argv.slice(2);
const client = new ConvexClient(url);
const update = async (requestDestination, address) => {
  const answer = await fetch(`${url}/api/v1/update_canonical_url`, {
    method: "POST",
    headers: { Authorization: `Convex ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify({ requestDestination, url: address }),
  });
  if (answer.status !== 200) throw new Error(await answer.text());
};

let heard;
const next = () => new Promise((resolve) => (heard = resolve));
const steps = [
  ["cloud", () => update("convexCloud", cloud)],
  ["site", () => update("convexSite", site)],
  ["cloud again", () => update("convexCloud")],
  ["site again", () => update("convexSite", null)],
];
let seen = next();
client.onUpdate(anyApi.addresses.own, {}, (value) => heard(value));
say("before", await seen);
for (const [name, change] of steps) {
  seen = next();
  await change();
  say(name, await seen);
}
await client.close();
