// One SQLite-backed Durable Object in workerd, behind one WebSocket per client. Usage: node workerd_host.mjs
// PORT FOLDER. A hand-written actor: an answer leaves when the storage has committed (the output gate).
import { Miniflare } from "miniflare";

const OBJECT = `
import { DurableObject } from "cloudflare:workers";

export class Store extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.sql = state.storage.sql;
    this.sql.exec(\`
      create table if not exists counters(name text primary key, count integer not null);
      create table if not exists messages(id integer primary key, channel text, body text, tag integer, created real);
      create index if not exists by_channel on messages(channel, created);
      create table if not exists accounts(number integer primary key, balance integer not null)\`);
  }

  fetch(request) {
    const [theirs, ours] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(ours, [new URL(request.url).searchParams.get("kind")]);
    return new Response(null, { status: 101, webSocket: theirs });
  }

  webSocketMessage(socket, text) {
    const { id, operation, ...args } = JSON.parse(text);
    socket.send(JSON.stringify({ id, value: this[operation](args) }));
  }

  increment({ name }) {
    const found = this.sql.exec("select count from counters where name = ?", name).toArray()[0];
    const count = (found?.count ?? 0) + 1;
    this.sql.exec("insert into counters values (?, ?) on conflict(name) do update set count = excluded.count", name, count);
    return count;
  }

  insert({ channel, body, tag }) {
    const created = Date.now() + Math.random();
    this.sql.exec("insert into messages(channel, body, tag, created) values (?, ?, ?, ?)", channel, body, tag, created);
    if (tag === 0) return null;
    const change = JSON.stringify({ tag, messages: this.newest({ channel }) });
    for (const subscriber of this.ctx.getWebSockets("subscriber")) subscriber.send(change);
    return null;
  }

  newest({ channel }) {
    return this.sql.exec("select * from messages where channel = ? order by created desc limit 10", channel).toArray();
  }

  openAccounts({ first, count }) {
    for (let number = first; number < first + count; number++) {
      this.sql.exec("insert or replace into accounts values (?, 1000)", number);
    }
    return null;
  }

  transfer({ source, target, amount }) {
    this.sql.exec("update accounts set balance = balance - ? where number = ?", amount, source);
    this.sql.exec("update accounts set balance = balance + ? where number = ?", amount, target);
    return null;
  }
}

export default { fetch: (request, env) => env.STORE.get(env.STORE.idFromName("one")).fetch(request) };`;

const [port, folder] = process.argv.slice(2);
const host = new Miniflare({
  modules: true,
  script: OBJECT,
  host: "127.0.0.1",
  port: Number(port),
  compatibilityDate: "2025-01-01",
  durableObjects: { STORE: { className: "Store", useSQLite: true } },
  durableObjectsPersist: folder,
});
await host.ready;
process.on("SIGTERM", () => host.dispose().then(() => process.exit(0)));
console.log("ready");
