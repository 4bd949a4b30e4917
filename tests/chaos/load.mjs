// Writers and watchers on unmodified clients while processes are killed under them.
// Usage: node load.mjs <url> <channel> <writers>; runs until its input ends, then settles and reports.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");
const WebSocket = require("ws");

const [url, channel, writerCount] = process.argv.slice(2);
const { messages } = anyApi;
const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const connect = () => new ConvexClient(url, { webSocketConstructor: WebSocket });

let stopping = false;
const acknowledged = []; // tokens of messages whose promise resolved
const counts = {}; // per writer, the results of its own counter in order

async function write(number) {
  const client = connect();
  const name = `${channel}-${number}`;
  counts[name] = [];
  for (let i = 0; !stopping; i++) {
    const token = `${name}-${i}`;
    const [, count] = await Promise.all([
      client.mutation(messages.send, { channel, body: token }),
      client.mutation(messages.increment, { name }),
    ]);
    acknowledged.push(token);
    counts[name].push(count);
    if (i === 0) say("started", name);
  }
  await client.close();
}

const watchers = Array.from({ length: 3 }, () => {
  const client = connect();
  const watcher = { client, last: [], lengths: [] };
  client.onUpdate(messages.list, { channel }, (value) => {
    watcher.last = value.map((message) => message.body);
    watcher.lengths.push(value.length);
  });
  return watcher;
});

const writing = Array.from({ length: Number(writerCount) }, (_, number) => write(number));
process.stdin.resume();
process.stdin.on("end", () => (stopping = true));
await Promise.all(writing);

const stored = (await new ConvexHttpClient(url).query(messages.list, { channel })).map((message) => message.body);
const deadline = Date.now() + 30_000;
const isCurrent = (watcher) => JSON.stringify(watcher.last) === JSON.stringify(stored);
while (!watchers.every(isCurrent) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));

say("stored", stored);
say("acknowledged", acknowledged);
say("counts", counts);
say("watchers that converged", watchers.filter(isCurrent).length);
say("went back", watchers.filter(({ lengths }) => lengths.some((length, i) => length < lengths[i - 1])).length);
process.exit(0);
