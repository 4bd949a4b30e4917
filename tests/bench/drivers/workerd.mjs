// The Durable Object of workerd_host.mjs through bare WebSockets. Usage: node workerd.mjs PORT
import { WebSocket } from "ws";
import { BODY, pickTransfer, seeded, serve } from "./driver.mjs";

const port = process.argv[2];
const random = seeded(7);
const HOT_CHANNEL = "c7";
let accounts = 0;

function open(kind, onPush) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/?kind=${kind}`, { perMessageDeflate: false });
  const waiting = new Map();
  let lastId = 0;
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.id === undefined) return onPush?.(message);
    waiting.get(message.id)(message.value);
    waiting.delete(message.id);
  });
  const client = {
    call: (operation, args) =>
      new Promise((resolve) => {
        waiting.set(++lastId, resolve);
        socket.send(JSON.stringify({ id: lastId, operation, ...args }));
      }),
    close: () => socket.close(),
  };
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", () => resolve(client));
  });
}

const transfer = (hot) => (client) => client.call("transfer", pickTransfer(random, accounts, hot));

serve({
  connect: () => open("client"),
  close: (client) => client.close(),
  operations: {
    increment: (client) => client.call("increment", { name: "hot" }),
    increment_own: (client, turn) => client.call("increment", { name: `own${turn.client}` }),
    insert: (client, turn) => client.call("insert", { channel: `c${turn.number % 100}`, body: BODY, tag: 0 }),
    query10: (client) => client.call("newest", { channel: HOT_CHANNEL }),
    transfer_uniform: transfer(false),
    transfer_hot: transfer(true),
  },
  async setup(options) {
    accounts = options.accounts;
    const client = await open("client");
    for (let first = 0; first < accounts; first += options.batch) {
      await client.call("openAccounts", { first, count: Math.min(options.batch, accounts - first) });
    }
    client.close();
  },
  subscribe: async (onTag) => open("subscriber", (change) => onTag(change.tag)),
  notify: (client, tag) => client.call("insert", { channel: HOT_CHANNEL, body: BODY, tag }),
  insertElsewhere: (client) => client.call("insert", { channel: "elsewhere", body: BODY, tag: 0 }),
});
