// Drives the unmodified npm clients against a gateway; prints one line per observation: `> ` and JSON.
// Usage: node npm_client.mjs <address> <scenario>; the convex and ws packages are found from NODE_MODULES.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");
const WebSocket = require("ws");

const [address, scenario] = process.argv.slice(2);
const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const api = anyApi.m;
const connect = (options = {}) => new ConvexClient(address, { webSocketConstructor: WebSocket, ...options });

const scenarios = {
  async emptyTransition() {
    const client = connect();
    say("touched", await client.mutation(api.touch, {}));
    await client.close();
  },

  async updateBeforePromise() {
    const client = connect();
    let first;
    const ready = new Promise((resolve) => (first = resolve));
    client.onUpdate(api.list, {}, (value) => {
      say("update", value);
      first();
    });
    await ready;
    await client.mutation(api.send, { body: "hi" });
    say("resolved");
    await client.close();
  },

  async manyMutations() {
    const client = connect();
    const all = Array.from({ length: 50 }, () => client.mutation(api.increment, {}));
    say("results", await Promise.all(all));
    say("query", await client.query(api.count, {}));
    await client.close();
  },

  async failures() {
    const client = connect();
    for (const run of [() => client.mutation(api.failing, {}), () => client.action(api.failingAction, {})]) {
      try {
        await run();
      } catch (error) {
        say("thrown", error.message.includes("Uncaught Error: no"));
      }
    }
    await new Promise((resolve) =>
      client.onUpdate(api.fail, {}, () => {}, (error) => {
        say("query", error.message.includes("Uncaught Error: no"));
        resolve();
      }),
    );
    say("action", await client.action(api.echo, { a: 1 }));
    await client.close();
  },

  // Stays connected while the other side restarts the gateway; ends when told.
  async reconnect() {
    const client = connect();
    client.onUpdate(api.count, {}, (value) => say("count", value));
    await client.mutation(api.increment, {});
    say("first");
    await new Promise((resolve) => process.stdin.once("data", resolve));
    process.stdin.destroy();
    await client.mutation(api.increment, {});
    say("second");
    await client.close();
  },

  async http() {
    const client = new ConvexHttpClient(address);
    say("list", await client.query(api.list, {}));
    await client.mutation(api.send, { body: "x" });
    say("list", await client.query(api.list, {}));
    say("consistent", await client.consistentQuery(api.list, {}));
    say("int64", String((await client.action(api.echo, { n: 42n })).n));
    try {
      await client.query(api.nope, {});
    } catch (error) {
      say("unknown", error.message.includes("Could not find public function for 'm:nope'"));
    }
    client.setAuth("not-a-token");
    try {
      await client.query(api.list, {});
    } catch (error) {
      say("token", JSON.parse(error.message).code);
    }
  },

  async rejectedToken() {
    const client = connect();
    client.setAuth(async () => "x.eyJpc3MiOiJpIiwiaWF0IjoxLCJleHAiOjk5OTk5OTk5OTl9.y", (isAuthenticated) =>
      say("authenticated", isAuthenticated),
    );
    say("count", await client.query(api.count, {}));
    await client.close();
  },
};

await scenarios[scenario]();
say("done");
