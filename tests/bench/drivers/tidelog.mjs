// Tidelog through the unmodified `convex` npm clients. Usage: node tidelog.mjs URL; NODE_MODULES has convex.
// Kinds of clients: http = ConvexHttpClient; socket = ConvexClient. Subscribers are ConvexClients, or with
// RAW_SUBSCRIBERS=1 bare sockets that only look for the tag: what the real client's own work adds.
import { createRequire } from "node:module";
import path from "node:path";
import { BODY, pickTransfer, seeded, serve } from "./driver.mjs";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");
const WebSocket = require("ws");

const url = process.argv[2];
const api = anyApi.bench;
const random = seeded(7);
const QUIET = { logger: false }; // our stdout carries answers, nothing else
const HOT_CHANNEL = "c7";
const transfer = (hot) => (client) =>
  client.mutation(api.transfer, pickTransfer(random, accounts, hot));
let accounts = 0;

function rawSubscriber(onTag) {
  const socket = new WebSocket(url.replace("http", "ws") + "/api/1.48.0/sync", { perMessageDeflate: false });
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", () => {
      const sessionId = crypto.randomUUID();
      const connect = { type: "Connect", sessionId, connectionCount: 0, lastCloseReason: null, clientTs: 0 };
      socket.send(JSON.stringify(connect));
      const query = { type: "Add", queryId: 0, udfPath: "bench:newest", args: [{ channel: HOT_CHANNEL }] };
      const set = { type: "ModifyQuerySet", baseVersion: 0, newVersion: 1, modifications: [query] };
      socket.send(JSON.stringify(set));
    });
    socket.on("message", (data) => {
      const text = data.toString();
      const found = /"tag":(\d+)/.exec(text);
      if (found === null) return;
      resolve(socket);
      onTag(Number(found[1]));
    });
  });
}

function liveSubscriber(onTag) {
  const client = new ConvexClient(url, QUIET);
  return new Promise((resolve, reject) => {
    const update = (messages) => {
      resolve(client);
      onTag(messages[0]?.tag);
    };
    client.onUpdate(api.newest, { channel: HOT_CHANNEL }, update, reject);
  });
}

serve({
  async connect(kind) {
    if (kind === "http") return new ConvexHttpClient(url, QUIET);
    const client = new ConvexClient(url, QUIET);
    await client.mutation(api.insert, { channel: "warm", body: BODY, tag: 0 }); // the socket is open
    return client;
  },
  async close(client) {
    await client.close?.();
  },
  operations: {
    increment: (client) => client.mutation(api.increment, { name: "hot" }),
    increment_own: (client, turn) => client.mutation(api.increment, { name: `own${turn.client}` }),
    insert: (client, turn) =>
      client.mutation(api.insert, { channel: `c${turn.number % 100}`, body: BODY, tag: 0 }),
    query10: (client) => client.query(api.newest, { channel: HOT_CHANNEL }),
    transfer_uniform: transfer(false),
    transfer_hot: transfer(true),
  },
  async setup(options) {
    accounts = options.accounts;
    const client = new ConvexHttpClient(url, QUIET);
    for (let first = 0; first < accounts; first += options.batch) {
      await client.mutation(api.openAccounts, { first, count: Math.min(options.batch, accounts - first) });
    }
  },
  subscribe: process.env.RAW_SUBSCRIBERS ? rawSubscriber : liveSubscriber,
  notify: (client, tag) => client.mutation(api.insert, { channel: HOT_CHANNEL, body: BODY, tag }),
  insertElsewhere: (client) => client.mutation(api.insert, { channel: "elsewhere", body: BODY, tag: 0 }),
});
