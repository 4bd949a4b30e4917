// Writers and watchers on unmodified clients while processes are killed under them.
// Usage: node load.mjs <url> <channel> <writers>; runs until its input ends, then settles and reports.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");
const WebSocket = require("ws");

const SETTLE_MS = 30_000;
// Between two turns of a writer, and longer the more it has written: a quarter of an hour of kills makes fewer messages
// than a list may have (8,192).
const REST_MS_MIN = 20;
const REST_MS_PER_TURN = 0.5;

const [url, channel, writerCount] = process.argv.slice(2);
const { messages } = anyApi;
const shared = `${channel}-shared`;
const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const connect = () => new ConvexClient(url, { webSocketConstructor: WebSocket });
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let stopping = false;
const acknowledged = []; // tokens of messages whose promise resolved
const counts = {}; // per writer, the results of its own counter in order
const sharedCounts = []; // results of the counter everyone increments
const refusals = []; // of increments of that counter

async function write(number) {
  const client = connect();
  const name = `${channel}-${number}`;
  counts[name] = [];
  for (let i = 0; !stopping; i++) {
    const token = `${name}-${i}`;
    const [, count] = await Promise.all([
      client.mutation(messages.send, { channel, body: token }),
      client.mutation(messages.increment, { name }),
      client.mutation(messages.increment, { name: shared }).then(
        (result) => sharedCounts.push(result),
        (refusal) => refusals.push(refusal.message),
      ),
    ]);
    acknowledged.push(token);
    counts[name].push(count);
    if (i === 0) say("started", name);
    await rest(Math.max(REST_MS_MIN, i * REST_MS_PER_TURN));
  }
  await client.close();
}

// Each watches the list and the shared counter; neither may ever go back.
const watchers = Array.from({ length: 3 }, () => {
  const client = connect();
  const watcher = { list: [], count: 0, wentBack: false };
  client.onUpdate(messages.list, { channel }, (value) => {
    watcher.wentBack ||= value.length < watcher.list.length;
    watcher.list = value.map((message) => message.body);
  });
  client.onUpdate(messages.count, { name: shared }, (value) => {
    watcher.wentBack ||= value < watcher.count;
    watcher.count = value;
  });
  return watcher;
});

const writing = Array.from({ length: Number(writerCount) }, (_, number) => write(number));
process.stdin.resume();
process.stdin.on("end", () => (stopping = true));
await Promise.all(writing);

const fresh = new ConvexHttpClient(url);
const stored = (await fresh.query(messages.list, { channel })).map((message) => message.body);
const count = await fresh.query(messages.count, { name: shared });
const isCurrent = (watcher) => watcher.count === count && JSON.stringify(watcher.list) === JSON.stringify(stored);
const deadline = Date.now() + SETTLE_MS;
while (!watchers.every(isCurrent) && Date.now() < deadline) await rest(50);

say("stored", stored);
say("acknowledged", acknowledged);
say("counts", counts);
say("shared count", count);
say("shared counts", sharedCounts);
say("refusals", refusals);
say("watchers behind", watchers.filter((watcher) => !isCurrent(watcher)).length);
say("watchers that went back", watchers.filter((watcher) => watcher.wentBack).length);
// A pipe takes 64 KiB at once: what waits behind that would go with the process.
process.stdout.write("", () => process.exit(0));
