// The console of Node actions: each argument rendered by util.inspect, one line to the host for each call.
//
// The methods the specification names have its levels (spec 03 3.5); what else Node's console can do (dir,
// table, group, ...) writes lines of level LOG or ERROR.
import { Console } from "node:console";
import { Writable } from "node:stream";
import { inspect } from "node:util";

const LEVELS = { debug: "DEBUG", error: "ERROR", info: "INFO", log: "LOG", warn: "WARN" };

const linesOf = (level, write) =>
  new Writable({
    decodeStrings: false,
    write: (text, _encoding, done) => {
      write(level, [String(text).replace(/\n$/, "")]);
      done();
    },
  });

export const installConsole = (write) => {
  const timers = new Map();
  const now = performance.now.bind(performance);
  const render = (value) => inspect(value);
  const rendered = (level) => (...values) => write(level, values.map(render));
  const elapsed = (label) => `${label}: ${Math.round(now() - timers.get(label))}ms`;

  const trace = (...values) => {
    const holder = {};
    Error.captureStackTrace(holder, trace);
    write("LOG", [...values.map(render), holder.stack.slice(holder.stack.indexOf("\n"))]);
  };

  const time = (name = "default") => {
    const label = String(name);
    if (timers.has(label)) write("WARN", [render(`Timer '${label}' already exists`)]);
    else timers.set(label, now());
  };

  const timeLog = (name = "default", ...values) => {
    const label = String(name);
    if (!timers.has(label)) return write("WARN", [render(`Timer '${label}' does not exist`)]);
    write("INFO", [elapsed(label), ...values].map(render));
  };

  const timeEnd = (name = "default") => {
    timeLog(name);
    timers.delete(String(name));
  };

  const others = new Console({ stdout: linesOf("LOG", write), stderr: linesOf("ERROR", write) });
  const levelled = Object.fromEntries(Object.entries(LEVELS).map(([method, level]) => [method, rendered(level)]));
  globalThis.console = Object.assign(others, levelled, { trace, time, timeLog, timeEnd });
};
