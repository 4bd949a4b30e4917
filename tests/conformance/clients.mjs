// Drives the unmodified npm clients against a server; prints `> ` and JSON, one observation per line.
// Usage: node clients.mjs <url> <scenario> [arguments]
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { ConvexReactClient } = require("convex/react");
const { anyApi } = require("convex/server");
const { ConvexError, jsonToConvex } = require("convex/values");
const WebSocket = require("ws");

const [url, scenario, ...rest] = process.argv.slice(2);
const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null], plain));
const plain = (_key, value) => (typeof value === "bigint" ? `${value}n` : value);
const { messages } = anyApi;
const sockets = { webSocketConstructor: WebSocket };
const commitTsPlaceholder = jsonToConvex({ $commitTs: null });
const connect = () => new ConvexClient(url, sockets);
const channel = rest[0] ?? "clients";

/** Subscribe; `until(predicate)` resolves with the first value that satisfies it. */
function watch(client, fn, args) {
  const seen = [];
  const waiting = [];
  const stop = client.onUpdate(fn, args, (value) => {
    seen.push(value);
    for (const check of [...waiting]) check();
  });
  const until = (holds) =>
    new Promise((resolve) => {
      const check = () => {
        const found = seen.find(holds);
        if (found === undefined) return;
        waiting.splice(waiting.indexOf(check), 1);
        resolve(found);
      };
      waiting.push(check);
      check();
    });
  return { seen, until, stop };
}

/** Each failure of an action, as each client tells it. */
async function fail(clients, fn, ways) {
  for (const how of ways) {
    for (const client of clients) {
      try {
        await client.action(fn, { how });
      } catch (error) {
        say("failed", { isConvexError: error instanceof ConvexError, data: error.data, message: error.message });
      }
    }
  }
}

const scenarios = {
  async http() {
    const client = new ConvexHttpClient(url);
    const id = await client.mutation(messages.send, { channel, body: "über", n: 42n });
    const [message] = await client.query(messages.list, { channel });
    say("same id", message._id === id);
    say("message", { body: message.body, n: message.n, channel: message.channel });
    for (const how of ["plain", "convex"]) {
      try {
        await client.query(messages.fail, { how });
      } catch (error) {
        say("failed", { isConvexError: error instanceof ConvexError, data: error.data, message: error.message });
      }
    }
    for (const [fn, args] of [
      [messages.send, { channel }],
      [messages.send, { channel, body: "x", extra: 1 }],
    ]) {
      try {
        await client.mutation(fn, args);
      } catch (error) {
        say("refused", error.message);
      }
    }
    try {
      await client.query(messages.wrongReturn, {});
    } catch (error) {
      say("refused", error.message);
    }
    say("anonymous", await client.query(messages.whoami, {}));
  },

  /** On a socket whose handshake belongs to a trace: rest[1] is the header. */
  async traced() {
    class Traced extends WebSocket {
      constructor(address) {
        super(address, { headers: { traceparent: rest[1] } });
      }
    }
    const client = new ConvexClient(url, { webSocketConstructor: Traced });
    const listed = watch(client, messages.list, { channel });
    await client.mutation(messages.send, { channel, body: "traced" });
    await listed.until((found) => found.length === 1);
    say("action", await client.action(anyApi.actions.twice, { name: channel }));
    await client.close();
  },

  async stamps() {
    const client = new ConvexHttpClient(url);
    const { at, snapshotTs, ...rest } = await client.mutation(anyApi.stamps.write, { name: channel });
    const later = await client.mutation(anyApi.stamps.write, { name: "later" });
    say("an int64 above its snapshot", typeof at === "bigint" && snapshotTs < at && at <= later.snapshotTs);
    say("told", { ...rest, nested: rest.nested.map((stamp) => stamp.at === at) });
    const found = await client.query(anyApi.stamps.list, { name: channel });
    say("found", found.map((stamp) => [stamp.at === at, stamp.deep.map((part) => part.at === at)]));
    try {
      await client.mutation(anyApi.stamps.nested, { name: channel, at: commitTsPlaceholder });
    } catch (error) {
      say("refused", error.message);
    }
  },

  async audits() {
    const client = connect();
    const http = new ConvexHttpClient(url);
    const { audits, tools } = anyApi;
    const name = channel;
    say("now", await client.mutation(audits.sends, { name }));
    say("noted", await client.mutation(audits.notes, { name }));
    await client.mutation(audits.fails, { name }).catch((error) => say("failed", error.message));
    await client.mutation(audits.nests, { name });
    for (const _ of [1, 2]) await http.query(audits.looks, { name });
    say("acted", await client.action(audits.acts, { name }));
    say("acted", await client.action(tools.audits, {}));
    say("refused", await client.mutation(audits.refused, {}));
    await client.close();
  },

  async search() {
    const client = connect();
    const { notes } = anyApi;
    const find = watch(client, notes.find, { text: "red fo", shelf: channel });
    await find.until((value) => value.length === 0);
    const add = (body, shelf = channel) => client.mutation(notes.add, { body, shelf });
    const fox = await add("The red fox");
    await find.until((value) => value.length === 1);
    await add("a red, red FOX", "another shelf");
    await add("fowl that is anything but red: red in no way at all");
    await add("nothing of the kind");
    const found = await find.until((value) => value.length === 2);
    say("live", found);
    await client.mutation(notes.remove, { id: fox });
    await find.until((value) => value.length === 1 && value[0].startsWith("fowl"));
    say("own writes", await client.mutation(notes.findOwn, { body: "owned", shelf: channel }));
    const bodies = [];
    let paginationOpts = { numItems: 2, cursor: null };
    for (const number of [1, 2, 3, 4, 5]) await add(`page ${number}`);
    for (let isDone = false; !isDone; ) {
      const page = await client.query(notes.page, { text: "page", shelf: channel, paginationOpts });
      bodies.push(...page.page.map(({ body }) => body));
      isDone = page.isDone;
      paginationOpts = { numItems: 2, cursor: page.continueCursor };
    }
    say("pages", bodies);
    await client.mutation(notes.fill, { count: 1_200, shelf: "full shelf" });
    say("filled", await client.query(notes.find, { text: "filled 1199", shelf: "full shelf" }));
    const body = "owned again";
    say("own writes", await client.mutation(notes.findOwn, { body, shelf: channel }));
    await client.query(notes.findWrongly, {}).catch((error) => say("refused", error.message));
    await client.close();
  },

  async words() {
    const client = connect();
    const { notes } = anyApi;
    const find = watch(client, notes.find, { text: "otter riv", shelf: channel });
    await find.until((value) => value.length === 0);
    const add = (body) => client.mutation(notes.add, { body, shelf: channel });
    for (const body of ["others", "the otters of a drive", "ri"]) await client.mutation(notes.remove, { id: await add(body) });
    const id = await add("a river");
    await find.until((value) => value.length === 1);
    await add("nothing of the kind");
    await client.mutation(notes.remove, { id });
    await find.until((value) => value.length === 0 && find.seen.length > 2);
    await add("an otter");
    say("found", await find.until((value) => value[0] === "an otter"));
    await client.close();
  },

  async vectors() {
    const client = connect();
    const { points } = anyApi;
    await client.mutation(points.add, { at: [1, 1, 0], kind: "near" });
    await client.mutation(points.add, { at: [-1, 0, 0], kind: "far" });
    await client.mutation(points.add, { at: [1, 0.1, 0], kind: "another" });
    say("nearest", await client.action(points.nearest, { at: [2, 0, 0] }));
    await client.action(points.mismatched, {}).catch((error) => say("refused", error.message));
    await client.close();
  },

  async live() {
    const [writer, reader] = [connect(), connect()];
    const list = watch(reader, messages.list, { channel });
    await list.until((value) => value.length === 0);
    const own = watch(writer, messages.list, { channel });
    await own.until((value) => value.length === 0);
    const id = await writer.mutation(messages.send, { channel, body: "first" });
    say("own update came before the promise", own.seen.at(-1).map((message) => message._id).includes(id));
    await list.until((value) => value.length === 1);
    await writer.mutation(messages.remove, { id });
    await list.until((value) => value.length === 0 && list.seen.length > 2);
    say("updates", list.seen.map((value) => value.length));
    await Promise.all([writer.close(), reader.close()]);
  },

  async ordered() {
    const client = connect();
    const results = await Promise.all(
      Array.from({ length: 50 }, () => client.mutation(messages.increment, { name: channel })),
    );
    say("results", results);
    say("count", await client.query(messages.count, { name: channel }));
    await client.close();
  },

  async nested() {
    const client = connect();
    say("kept", await client.mutation(messages.nested, { fail: false }));
    say("rolled back", await client.mutation(messages.nested, { fail: true }));
    const list = await client.query(messages.list, { channel: "nested" });
    say("bodies", list.map((message) => message.body));
    await client.close();
  },

  async actions() {
    const { actions } = anyApi;
    const [socket, http] = [connect(), new ConvexHttpClient(url)];
    const count = watch(socket, messages.count, { name: channel });
    await count.until((value) => value === 0);
    say("twice", await socket.action(actions.twice, { name: channel }));
    await count.until((value) => value === 2);
    say("twice", await http.action(actions.twice, { name: channel }));
    const names = Array.from({ length: 20 }, (_, i) => `${channel}-${i}`);
    say("in parallel", await socket.action(actions.inParallel, { names }));
    say("loads", await http.action(actions.loads, { name: channel }));
    await fail([socket, http], actions.fails, ["plain", "convex"]);
    try {
      await http.action(actions.inner, { name: channel });
    } catch (error) {
      say("refused", error.message);
    }
    await socket.close();
  },

  async tools() {
    const { tools } = anyApi;
    const [socket, http] = [connect(), new ConvexHttpClient(url)];
    for (const client of [socket, http]) {
      say("hashed", await client.action(tools.hashes, { text: channel }));
      say("counts", await client.action(tools.counts, { name: channel }));
    }
    await fail([socket, http], tools.fails, ["error", "convex"]);
    await socket.close();
  },

  async pages() {
    const client = connect();
    for (let i = 0; i < 7; i++) await client.mutation(messages.send, { channel, body: `body-${i}` });
    let cursor = null;
    for (let isDone = false; !isDone; ) {
      const page = await client.query(messages.page, { channel, paginationOpts: { numItems: 3, cursor } });
      say("page", page.page.map((message) => message.body));
      ({ isDone, continueCursor: cursor } = page);
    }
    await client.close();
  },

  async react() {
    const client = new ConvexReactClient(url, sockets);
    const watching = client.watchQuery(messages.list, { channel });
    const arrived = new Promise((resolve) => {
      watching.onUpdate(() => {
        const value = watching.localQueryResult();
        if (value?.length === 1) resolve(value);
      });
    });
    await client.mutation(messages.send, { channel, body: "from react" });
    say("bodies", (await arrived).map((message) => message.body));
    const told = (error) =>
      say("failed", { isConvexError: error instanceof ConvexError, data: error.data, message: error.message });
    await client.query(messages.fail, { how: "convex" }).catch(told);
    await client.action(anyApi.actions.fails, { how: "convex" }).catch(told);
    await client.close();
  },

  async drawn() {
    const client = new ConvexHttpClient(url);
    const draw = () => client.query(messages.drawn, { channel });
    say("drawn", await draw());
    say("drawn", await draw());
    await client.mutation(messages.send, { channel: `not-${channel}`, body: "irrelevant" });
    say("drawn", await draw());
    await client.mutation(messages.send, { channel, body: "relevant" });
    say("drawn", await draw());
  },

  /** Many sockets on one query: how long until all have each of a few changes. */
  async many() {
    const count = Number(rest[1]);
    const clients = Array.from({ length: count }, connect);
    const lists = clients.map((client) => watch(client, messages.list, { channel }));
    await Promise.all(lists.map((list) => list.until((value) => value.length === 0)));
    say("subscribed", count);
    const writer = new ConvexHttpClient(url);
    for (let round = 1; round <= 3; round++) {
      await writer.mutation(messages.send, { channel, body: `round-${round}` });
      await Promise.all(lists.map((list) => list.until((value) => value.length === round)));
    }
    say("last", [...new Set(lists.map((list) => list.seen.at(-1).length))]);
    await writer.mutation(messages.send, { channel: `not-${channel}`, body: "irrelevant" });
    await Promise.all(clients.map((client) => client.close()));
  },

  /** Every attack of attacks.ts, each followed by an innocent call. */
  async attacks() {
    const client = new ConvexHttpClient(url);
    const { attacks } = anyApi;
    for (const name of rest) {
      try {
        say(name, await client.query(attacks[name], {}));
      } catch (error) {
        say(name, error.message.split("\n").slice(1, 2).join());
      }
      say("count", await client.query(messages.count, { name: "nobody" }));
    }
    await client.mutation(attacks.dangling, { channel });
    say("dangling", (await client.query(messages.list, { channel })).length);
  },
};

await scenarios[scenario]();
process.exit(0);
