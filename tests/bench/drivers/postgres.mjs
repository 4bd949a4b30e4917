// PostgreSQL as fast as node gets at it: one round trip per operation, prepared statements, functions in
// the database. Usage: node postgres.mjs PORT. The node-postgres package is next to us.
import pg from "pg";
import { BODY, pickTransfer, seeded, serve } from "./driver.mjs";

const address = { host: "127.0.0.1", port: Number(process.argv[2]), user: "postgres", database: "postgres" };
const random = seeded(7);
let accounts = 0;

const SCHEMA = `
  drop table if exists counters, messages, accounts;
  create table counters(name text primary key, count int not null);
  create table messages(id bigserial primary key, channel text not null, body text not null, tag int not null,
    created timestamptz not null default clock_timestamp());
  create index on messages(channel, created);
  create table accounts(number int primary key, balance int not null);
  create or replace function increment(counter text) returns int language plpgsql as $$
    declare seen int;
    begin
      select count into seen from counters where name = counter for update;
      if not found then
        insert into counters values (counter, 1) on conflict (name) do update set count = counters.count + 1
          returning count into seen;
        return seen;
      end if;
      update counters set count = seen + 1 where name = counter;
      return seen + 1;
    end $$;
  create or replace function transfer(source int, target int, amount int) returns void language plpgsql as $$
    begin
      perform 1 from accounts where number in (source, target) order by number for update;
      update accounts set balance = balance - amount where number = source;
      update accounts set balance = balance + amount where number = target;
    end $$;`;

async function connect() {
  const client = new pg.Client(address);
  await client.connect();
  return client;
}

const prepared = (name, text) => (client, values) => client.query({ name, text, values });
const increment = prepared("increment", "select increment($1)");
const insert = prepared("insert", "insert into messages(channel, body, tag) values ($1, $2, $3)");
const newest = prepared("newest", "select * from messages where channel = $1 order by created desc limit 10");
const move = prepared("transfer", "select transfer($1, $2, $3)");
const transfer = (hot) => (client) => {
  const { source, target, amount } = pickTransfer(random, accounts, hot);
  return move(client, [source, target, amount]);
};

serve({
  connect,
  close: (client) => client.end(),
  operations: {
    increment: (client) => increment(client, ["hot"]),
    increment_own: (client, turn) => increment(client, [`own${turn.client}`]),
    insert: (client, turn) => insert(client, [`c${turn.number % 100}`, BODY, 0]),
    query10: (client) => newest(client, ["c7"]),
    transfer_uniform: transfer(false),
    transfer_hot: transfer(true),
  },
  async setup(options) {
    accounts = options.accounts;
    const client = await connect();
    await client.query(SCHEMA);
    await client.query("insert into accounts select i, 1000 from generate_series(0, $1 - 1) i", [accounts]);
    const { rows } = await client.query("show synchronous_commit");
    await client.query("vacuum analyze");
    await client.end();
    return { synchronous_commit: rows[0].synchronous_commit };
  },
});
