// Logs users in with the unmodified npm clients; prints `> ` and JSON, one observation per line.
// Usage: node auth.mjs <url> <scenario> <issuer> [arguments]
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");
const WebSocket = require("ws");

const [url, scenario, issuer, ...rest] = process.argv.slice(2);
const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const { messages, users } = anyApi;
const login = async (query) => await (await fetch(`${issuer}/token?${query}`)).text();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves when `holds(value)` is true for a value of the subscription. */
function until(client, fn, args, holds) {
  return new Promise((resolve) => {
    const stop = client.onUpdate(fn, args, (value) => {
      if (!holds(value)) return;
      resolve(value);
      setTimeout(stop);
    });
  });
}

/** A client that is given these logins one after the other, the last one again and again. */
function loggedIn(logins) {
  const client = new ConvexClient(url, { webSocketConstructor: WebSocket });
  let fetched = 0;
  const authenticated = [];
  const waiting = [];
  client.setAuth(
    async ({ forceRefreshToken }) => {
      const query = logins[Math.min(fetched++, logins.length - 1)];
      say("fetched", [forceRefreshToken, query]);
      return await login(query);
    },
    (isAuthenticated) => {
      say("authenticated", isAuthenticated);
      authenticated.push(isAuthenticated);
      for (const check of waiting) check();
    },
  );
  const settled = (wanted) =>
    new Promise((resolve) => {
      const check = () => authenticated.includes(wanted) && resolve();
      waiting.push(check);
      check();
    });
  return { client, settled };
}

const scenarios = {
  async http() {
    const client = new ConvexHttpClient(url);
    say("before", await client.query(users.me, {}));
    client.setAuth(await login("name=Ada"));
    say("me", await client.query(users.me, {}));
    say("signed", await client.mutation(users.sign, { channel: rest[0] }));
    for (const bad of ["name=Eve&key=stranger", "name=Old&lived=20&left=-10"]) {
      client.setAuth(await login(bad));
      try {
        await client.query(users.me, {});
      } catch (error) {
        say("refused", JSON.parse(error.message).code);
      }
    }
    client.clearAuth();
    say("after", await client.query(users.me, {}));
  },

  /** The first token is refused; the client fetches another one, and subscriptions see that user. */
  async refused() {
    const { client, settled } = loggedIn(["name=Eve&key=stranger", "name=Ada"]);
    const me = await until(client, users.me, {}, (identity) => identity !== null);
    await settled(true);
    say("me", me.name);
    await client.close();
  },

  /** No token is any good: the client ends as nobody, and works. */
  async hopeless() {
    const { client, settled } = loggedIn([1, 2, 3, 4].map((n) => `name=Eve${n}&key=stranger`));
    await settled(false);
    say("me", await until(client, users.me, {}, () => true));
    await client.close();
  },

  /** A token ends while its socket lives; what is sent then is not lost. */
  async expired() {
    // Old enough that the client's own timer, set by the token's whole life, is far away.
    const short = "name=Ada&lived=1000&left=3";
    const { client, settled } = loggedIn(["name=Ada", short, "name=Ada"]);
    await settled(true);
    await until(client, messages.list, { channel: rest[0] }, () => true);
    await sleep(4000);
    say("signed", await client.mutation(users.sign, { channel: rest[0] }));
    say("messages", (await client.query(messages.list, { channel: rest[0] })).length);
    await client.close();
  },

  /** The user changes on a live socket, and leaves. */
  async changes() {
    const { client } = loggedIn(["name=Ada"]);
    const named = (name) => until(client, users.me, {}, (identity) => (identity?.name ?? null) === name);
    say("me", (await named("Ada")).name);
    client.setAuth(async () => await login("name=Bob"));
    say("me", (await named("Bob")).name);
    client.client.clearAuth();
    say("me", await named(null));
    await client.close();
  },
};

await scenarios[scenario]();
process.exit(0);
