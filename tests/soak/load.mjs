// An hour of an app's life on unmodified clients: writers, readers, and visitors who come and go.
// Usage: node load.mjs <url> <file for tokens>. Lines on stdin: {"pace": n}, n times as many writes from then
// on. Runs until its input ends, then settles and reports. The file gets one line per acknowledged write.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");
const WebSocket = require("ws");

const LANES = 8;
const COUNTERS = 4;
const PROFILES = 200;
const VISITORS = 20;
const TEXT_MAX = 1500;
const EXHAUST_EVERY = 60; // of the failing calls
const SETTLE_MS = 30_000;

const [url, tokensPath] = process.argv.slice(2);
const { work } = anyApi;
const tokens = fs.createWriteStream(tokensPath);
const note = (what, token) => tokens.write(`${what} ${token}\n`);
const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const connect = () => new ConvexClient(url, { webSocketConstructor: WebSocket });
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const among = (count) => Math.floor(Math.random() * count);
const lane = (number) => `lane-${number}`;
const text = () => "x".repeat(among(TEXT_MAX));

let stopping = false;
let pace = 1;
const done = {}; // operation -> how often it was answered
const refusals = {}; // text -> how often an operation that should succeed did not
const increments = {}; // counter -> acknowledged increments

// An operation again and again, one at a time; `isPaced` says whether it follows the pace.
async function keepDoing(name, everyMs, isPaced, operation) {
  let due = Date.now() + Math.random() * everyMs;
  for (let turn = 0; !stopping; turn++) {
    await rest(Math.max(0, due - Date.now()));
    due = Math.max(due + everyMs / (isPaced ? pace : 1), Date.now() - everyMs);
    try {
      await operation(turn);
      done[name] = (done[name] ?? 0) + 1;
    } catch (error) {
      const said = `${name}: ${String(error.message).slice(0, 300)}`;
      refusals[said] = (refusals[said] ?? 0) + 1;
    }
  }
}

// A client of its own for each writer, as if each were a service; HTTP calls leave no session behind.
const http = () => new ConvexHttpClient(url);

function produce(number) {
  const client = http();
  return keepDoing("enqueue", 700, true, async (turn) => {
    const token = `${lane(number)}-${turn}`;
    await client.mutation(work.enqueue, { lane: lane(number), token, text: text() });
    note("put", token);
  });
}

// Over a socket the server remembers each answer for days, so this one is slow.
function produceOnSocket() {
  const client = connect();
  return keepDoing("enqueue on a socket", 1000, false, async (turn) => {
    const token = `socket-${turn}`;
    await client.mutation(work.enqueue, { lane: lane(turn % LANES), token, text: text() });
    note("put", token);
  }).then(() => client.close());
}

function consume(number) {
  const client = http();
  return keepDoing("take", 400, true, async (turn) => {
    const taken = await client.mutation(work.take, { lane: lane(number + (turn % 2) * (LANES / 2)) });
    for (const token of taken) note("took", token);
  });
}

function increment() {
  const client = http();
  return keepDoing("increment", 200, true, async () => {
    const name = `counter-${among(COUNTERS)}`;
    await client.mutation(work.increment, { name });
    increments[name] = (increments[name] ?? 0) + 1;
  });
}

function rewrite() {
  const client = http();
  return keepDoing("rewrite", 300, true, async () => {
    await client.mutation(work.rewrite, { name: `profile-${among(PROFILES)}`, text: text() });
  });
}

function turnPages() {
  const client = http();
  return keepDoing("pages", 600, false, async () => {
    const of = lane(among(LANES));
    for (let page = { isDone: false, continueCursor: null }; !page.isDone; ) {
      const paginationOpts = { numItems: 15, cursor: page.continueCursor };
      page = await client.query(work.page, { lane: of, paginationOpts });
    }
  });
}

function readOnce() {
  const client = http();
  return keepDoing("read", 250, false, async () => {
    await client.query(work.newest, { lane: lane(among(LANES)) });
    await client.query(work.round, {});
  });
}

async function mustFail(call) {
  try {
    await call();
  } catch {
    return;
  }
  throw new Error("it succeeded");
}

function fail() {
  const client = http();
  return keepDoing("failing calls", 500, false, async (turn) => {
    const token = `never-${turn}`;
    await mustFail(() => client.mutation(work.failAfterWriting, { lane: lane(among(LANES)), token }));
    await mustFail(() => client.query(work.newest, { lane: turn }));
    if (turn % EXHAUST_EVERY === 0) await mustFail(() => client.query(work.exhaust, {}));
  });
}

// One who looks at four things for a while and goes; another one comes.
function visit() {
  const client = connect();
  let updates = 0;
  const seen = () => updates++;
  client.onUpdate(work.newest, { lane: lane(among(LANES)) }, seen);
  client.onUpdate(work.count, { name: `counter-${among(COUNTERS)}` }, seen);
  client.onUpdate(work.top, {}, seen);
  client.onUpdate(work.round, {}, seen);
  return { leave: () => client.close(), updates: () => updates };
}

const visitors = Array.from({ length: VISITORS }, visit);
let visits = VISITORS;
let shown = 0;

function comeAndGo() {
  return keepDoing("visit", 1500, false, async () => {
    const leaving = visitors.shift();
    shown += leaving.updates();
    await leaving.leave();
    visitors.push(visit());
    visits++;
  });
}

const numbers = (count) => Array.from({ length: count }, (_, number) => number);
const working = [
  ...numbers(LANES).map(produce),
  ...numbers(LANES / 2).map(consume),
  ...numbers(2).map(increment),
  ...numbers(2).map(rewrite),
  produceOnSocket(),
  turnPages(),
  readOnce(),
  fail(),
  comeAndGo(),
];

const commands = readline.createInterface({ input: process.stdin });
commands.on("line", (line) => ({ pace } = JSON.parse(line)));
commands.on("close", () => (stopping = true));
await Promise.all(working);

// --- settled: what is there now ------------------------------------------------------------------------

const client = http();
const left = [];
for (const number of numbers(LANES)) left.push(...(await client.query(work.lengthOf, { lane: lane(number) })));
const counts = {};
for (const name of Object.keys(increments)) counts[name] = await client.query(work.count, { name });

// Every visitor has the newest state without a reload.
let behind = VISITORS;
const watcher = connect();
const last = {};
for (const name of Object.keys(counts)) watcher.onUpdate(work.count, { name }, (value) => (last[name] = value));
for (const deadline = Date.now() + SETTLE_MS; Date.now() < deadline && behind; await rest(50)) {
  behind = Object.keys(counts).filter((name) => last[name] !== counts[name]).length;
}
await new Promise((resolve) => tokens.end(resolve));
say("left", left);
say("counts", counts);
say("increments", increments);
say("done", done);
say("refusals", refusals);
say("visits", visits);
say("updates shown", shown);
say("counters behind", behind);
process.exit(0);
