// The load generator of all systems: one command per line on stdin, one JSON answer per line on stdout.
//
// A system is { connect(kind), close(client), operations: { name: (client, turn) => promise },
// subscribe(onTag) -> promise of a client, notify(client, tag), insertElsewhere(client, turn) }.
// `turn` is { number, client }: how many calls this client made, and which of the clients it is.
// Only the clock of this process is read; the server's CPU and memory are watched by whoever commands us.
import { createInterface } from "node:readline";

export const BODY = "x".repeat(120);
const FAN_OUT_SECONDS_MAX = 20;
const SUBSCRIBE_AT_ONCE = 25;

const now = () => performance.now();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const round = (number, digits = 3) => Number(number.toFixed(digits));

/** One seeded source of chance per run, so that every system gets the same transfers. */
export function seeded(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Two different accounts; with `hot`, four transfers of five are among the first HOT accounts. */
export const HOT_ACCOUNTS = 10;
export function pickTransfer(random, accounts, hot) {
  const among = hot && random(100) < 80 ? HOT_ACCOUNTS : accounts;
  const source = random(among);
  return { source, target: (source + 1 + random(among - 1)) % among, amount: 1 };
}

function summary(times, seconds, errors, firstError, cpu) {
  const sorted = times.sort((a, b) => a - b);
  const at = (share) => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  const operations = sorted.length;
  return {
    operations,
    seconds: round(seconds),
    ops_s: round(operations / seconds, 1),
    p50_ms: at(0.5),
    p99_ms: at(0.99),
    min_ms: at(0),
    errors,
    first_error: firstError,
    client_cpu_us_op: Math.round((cpu.user + cpu.system) / Math.max(1, operations)),
  };
}

export function serve(system) {
  let clients = [];
  let subscribers = [];
  let notifier = null;
  let lastTag = 0;
  let onSeen = () => {};

  const commands = {
    async open({ count, kind }) {
      clients = await Promise.all(Array.from({ length: count }, () => system.connect(kind)));
      return {};
    },

    async close() {
      for (const client of clients) await system.close(client);
      clients = [];
      return {};
    },

    /** All clients call `operation` again and again, each waiting for its answer. */
    async run({ operation, seconds, operations_max = Infinity }) {
      const call = system.operations[operation];
      const times = [];
      let errors = 0;
      let firstError = null;
      const cpuBefore = process.cpuUsage();
      const started = now();
      const ends = started + seconds * 1000;
      const loop = async (client, index) => {
        for (let number = 0; now() < ends && times.length < operations_max; number++) {
          const sent = now();
          try {
            await call(client, { number, client: index });
            times.push(now() - sent);
          } catch (error) {
            errors += 1;
            firstError ??= String(error).slice(0, 300);
          }
        }
      };
      await Promise.all(clients.map(loop));
      return summary(times, (now() - started) / 1000, errors, firstError, process.cpuUsage(cpuBefore));
    },

    async setup(options) {
      return (await system.setup(options)) ?? {};
    },

    /** `count` more live subscribers, each on a connection of its own; answers once all hold a result. */
    async subscribe({ count }) {
      notifier ??= await system.connect("fan-out");
      const started = now();
      for (let first = 0; first < count; first += SUBSCRIBE_AT_ONCE) {
        const batch = Array.from({ length: Math.min(SUBSCRIBE_AT_ONCE, count - first) }, () =>
          system.subscribe((tag) => onSeen(tag)),
        );
        subscribers.push(...(await Promise.all(batch)));
      }
      return { subscribers: subscribers.length, seconds: round((now() - started) / 1000) };
    },

    /** Send a change `rounds` times; each ends when the last subscriber has it. */
    async notify({ rounds, pause_ms }) {
      const toAll = [];
      const toFirst = [];
      const cpuBefore = process.cpuUsage();
      for (let number = 0; number < rounds; number++) {
        const tag = ++lastTag;
        let seen = 0;
        let first = 0;
        const sent = now();
        const everybody = new Promise((resolve) => {
          onSeen = (found) => {
            if (found !== tag) return;
            if (++seen === 1) first = now();
            if (seen === subscribers.length) resolve(now());
          };
        });
        await system.notify(notifier, tag);
        const late = sleep(FAN_OUT_SECONDS_MAX * 1000).then(() => null);
        const ended = await Promise.race([everybody, late]);
        if (ended === null) throw new Error(`only ${seen} of ${subscribers.length} saw change ${tag}`);
        toAll.push(ended - sent);
        toFirst.push(first - sent);
        await sleep(pause_ms);
      }
      const cpu = process.cpuUsage(cpuBefore);
      const middle = (times) => round(times.sort((a, b) => a - b)[Math.floor(times.length / 2)], 2);
      const max = round(Math.max(...toAll), 2);
      return {
        rounds,
        send_to_all_p50_ms: middle(toAll),
        send_to_all_max_ms: max,
        send_to_first_p50_ms: middle(toFirst),
        client_cpu_us_notification: Math.round((cpu.user + cpu.system) / (rounds * subscribers.length)),
      };
    },

    /** Changes that no subscriber's query can see. */
    async insert_elsewhere({ rounds }) {
      for (let number = 0; number < rounds; number++) await system.insertElsewhere(notifier, number);
      await sleep(300);
      return { rounds };
    },

    async unsubscribe() {
      for (const subscriber of subscribers) await system.close(subscriber);
      if (notifier !== null) await system.close(notifier);
      [subscribers, notifier] = [[], null];
      return {};
    },
  };

  const answer = async (line) => {
    const { command, ...options } = JSON.parse(line);
    try {
      return { ok: await commands[command](options) };
    } catch (error) {
      return { failed: String(error?.stack ?? error).slice(0, 2000) };
    }
  };
  const lines = createInterface({ input: process.stdin });
  let turn = Promise.resolve();
  lines.on("line", (line) => {
    turn = turn.then(async () => process.stdout.write(JSON.stringify(await answer(line)) + "\n"));
  });
  lines.on("close", () => turn.then(() => process.exit(0)));
}
