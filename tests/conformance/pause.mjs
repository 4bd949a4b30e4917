// What a live client sees while its deployment is paused and resumed; prints `> ` and JSON, one line each.
// Usage: node pause.mjs <url> <admin key>
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient } = require("convex/browser");
const { anyApi } = require("convex/server");

const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const [url, key] = process.argv.slice(2);
const client = new ConvexClient(url);
const admin = (name) =>
  fetch(`${url}/api/v1/${name}`, {
    method: "POST",
    headers: { Authorization: `Convex ${key}`, "Content-Type": "application/json" },
    body: "{}",
  });

let heard, failed;
const next = () => new Promise((resolve, reject) => ([heard, failed] = [resolve, reject]));
let update = next();
client.onUpdate(anyApi.messages.count, { name: "paused" }, (value) => heard(value), (error) => failed(error));
say("before", await update);
update = next();
say("pausing", (await admin("pause_deployment")).status);
say("paused", await update.catch((error) => error.message));
say("mutation", await client.mutation(anyApi.jobs.chained, { name: "paused", length: 1 }).catch((e) => e.message));
update = next();
say("resuming", (await admin("unpause_deployment")).status);
say("after", await update);
await client.close();
