// Timers of actions (spec 03 3.9): the host waits, and answers in the order of due times, equal ones in the order
// of creation. What happens then is decided here.
//
// Promises: a timer that was cleared never runs; what a callback throws is an unhandled rejection, which ends the
// action; an interval waits anew once its callback has returned.
const { asyncSyscall, syscall } = host;
const { stringify } = JSON;

const timers = new Map(); // id -> the timers that may still run
let lastId = 0;

// As the standard reads a delay: a whole number of 32 bits, and nothing is due before now.
const delayOf = (value) => Math.max(Number(value) | 0, 0);

const wait = async (id, timer) => {
  await asyncSyscall("host/sleep", stringify({ id, ms: timer.delay }));
  if (!timers.has(id)) return;
  if (!timer.repeats) timers.delete(id);
  Reflect.apply(timer.callback, globalThis, timer.args);
  if (timers.has(id)) wait(id, timer);
};

const start = (name, repeats) => (callback, delay, ...args) => {
  if (typeof callback !== "function") throw new TypeError(`${name}: the callback must be a function`);
  const id = ++lastId;
  const timer = { callback, delay: delayOf(delay), args, repeats };
  timers.set(id, timer);
  wait(id, timer);
  return id;
};

export const setTimeout = start("setTimeout", false);
export const setInterval = start("setInterval", true);

// Both kinds have ids from one row, and either function clears either kind, as in browsers.
export const clear = (id) => {
  const key = Number(id);
  if (timers.delete(key)) syscall("host/cancelSleep", stringify({ id: key }));
};
