// One call at a time: whose it is, what it asks of the host, what it leaves behind (spec 03 5.6).
//
// Promises: code that is left from an earlier call neither prints into a later one nor asks for anything in
// its name; an answer reaches whoever asked, or nobody.
import { AsyncLocalStorage } from "node:async_hooks";

import { send } from "./channel.mjs";

const PENDING_MAX = 1000;
const TOO_MANY =
  "Too many concurrent operations. See https://docs.convex.dev/functions/actions#limits for more information.";
const LEFTOVER =
  "Leftover state detected. An earlier call of an action has left code running that asks for something now. " +
  "Await everything an action begins, and keep its `ctx` to itself.";

const scope = new AsyncLocalStorage();
let current = null; // { id, linesMax, charactersMax, lines, pending, nextOperation }

export const isRunning = () => current !== null;

export const begin = (id, limits, work) => {
  current = { id, ...limits, lines: 0, pending: new Map(), nextOperation: 1 };
  return scope.run(current, work);
};

// Ends the call; the names of the operations that nobody has waited for.
export const end = () => {
  const unawaited = [...current.pending.values()].map(({ name }) => name);
  current = null;
  return unawaited;
};

// The host counts as well and says what was cut: this only keeps a loop that prints from flooding it.
export const print = (level, messages) => {
  const printer = scope.getStore();
  if (current === null || (printer !== undefined && printer !== current)) return;
  if (current.lines++ > current.linesMax) return;
  const cut = messages.map((text) => text.toWellFormed().slice(0, current.charactersMax));
  send({ kind: "console", level, messages: cut });
};

export const checkOwner = (requestId) => {
  if (current === null || (requestId !== undefined && requestId !== current.id)) throw new Error(LEFTOVER);
};

// The answer's JSON text. `args` is JSON text.
export const ask = (name, args) =>
  new Promise((resolve, reject) => {
    if (current === null) throw new Error(LEFTOVER);
    if (current.pending.size >= PENDING_MAX) throw new Error(TOO_MANY);
    const operation = current.nextOperation++;
    current.pending.set(operation, { name, resolve, reject });
    send({ kind: "operation", id: operation, name, args });
  });

export const answered = ({ call, id, value, error }) => {
  if (current === null || call !== current.id) return;
  const waiting = current.pending.get(id);
  if (waiting === undefined) return;
  current.pending.delete(id);
  if (error === undefined) return waiting.resolve(value);
  const rejected = new Error(error.message);
  if (error.data !== null) rejected.data = JSON.parse(error.data);
  waiting.reject(rejected);
};
