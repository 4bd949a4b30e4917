// A process that runs Node actions for a host: one call at a time, many one after the other (spec 03 5.6).
//
// argv: the host's pid, the folder of the modules, two descriptors (channel.mjs). Messages, by `kind`:
//   from the host  environment {variables}                         first of all, once
//                  call {id, path, name, args, seconds, ...limits}  then `settled` follows, whatever happens
//                  answer {call, id, value | error}                 of an operation
//                  analyze {paths}                                  then `analyzed` follows
//   to the host    console {level, messages}, operation {id, name, args}
//                  settled {value | thrown | timedOut, unawaited, isReusable, memoryBytes}
//                  analyzed {modules: {path: {functions} | {thrown} | {refused}}}
//
// Promises: a process whose state nobody can vouch for any more says so and is not used again; one whose
// host has gone ends, with everything it has started, even while user code never yields.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

import { ShapeError, analyzeModule } from "../engine/prelude/exports.mjs";
import * as calls from "./calls.mjs";
import { listen, send } from "./channel.mjs";
import { installConsole } from "./console.mjs";
import { installConvex } from "./convex.mjs";
import { describe } from "./thrown.mjs";

const HOST_PID = Number(process.argv[2]);
const FOLDER_URL = `${pathToFileURL(process.argv[3]).href}/`;
const { setTimeout, clearTimeout } = globalThis; // user code may replace them
const reallyExit = process.reallyExit.bind(process);

// --- the end of the process ---------------------------------------------------------------------------

const endWithEverything = () => process.kill(-process.pid, "SIGKILL"); // we lead a process group of our own

// A thread of its own notices that the host has gone while user code keeps this one.
const WATCH = `
  const { workerData } = require("node:worker_threads");
  setInterval(() => process.ppid === workerData.host || process.kill(-process.pid, "SIGKILL"), 1000);`;
new Worker(WATCH, { eval: true, workerData: { host: HOST_PID } }).unref();

// What no call can be made to answer for ends the one that runs, and this process after it.
let isAnalysing = false;

const fail = (name, reason) => {
  const thrown = { ...describe(reason, FOLDER_URL), isError: true, name };
  if (isAnalysing) send({ kind: "analyzed", failed: thrown });
  else if (calls.isRunning()) settle({ thrown }, false);
  reallyExit(1);
};

process.on("uncaughtException", (error) => fail("uncaughtException", error));
process.on("unhandledRejection", (reason) => fail("unhandledRejection", reason));
process.exit = (code) => {
  fail("process.exit", new Error(`process.exit() called with exit code ${code ?? process.exitCode ?? 0}`));
};
process.abort = () => fail("process.abort", new Error("process.abort() called"));

// --- calls --------------------------------------------------------------------------------------------

const load = (path) => import(FOLDER_URL + path);

const settle = (result, mayReuse) => {
  const unawaited = calls.end();
  // A timer that still runs would run user code in the middle of somebody else's call.
  const isTicking = process.getActiveResourcesInfo().some((name) => name === "Timeout" || name === "Immediate");
  const isReusable = mayReuse && !isTicking && unawaited.length === 0;
  send({ kind: "settled", ...result, unawaited, isReusable, memoryBytes: process.memoryUsage.rss() });
};

const invoke = async ({ id, path, name, args }) => {
  const registered = (await load(path))[name];
  if (registered === undefined) throw new Error(`Couldn't find "${name}" in module "${path}".`);
  return registered.invokeAction(id, args);
};

const run = (request) => {
  const { id, seconds, linesMax, charactersMax } = request;
  let isOver = false;
  const finish = (result, mayReuse) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(limit);
    settle(result, mayReuse);
  };
  const limit = setTimeout(finish, seconds * 1000, { timedOut: true }, false);
  calls.begin(id, { linesMax, charactersMax }, () =>
    invoke(request).then(
      (value) => finish({ value }, true),
      (reason) => finish({ thrown: describe(reason, FOLDER_URL) }, true),
    ),
  );
};

// --- analysis -----------------------------------------------------------------------------------------

const analyzed = async (path) => {
  try {
    return { functions: analyzeModule(path, await load(path)) };
  } catch (error) {
    return error instanceof ShapeError ? { refused: error.message } : { thrown: describe(error, FOLDER_URL) };
  }
};

const analyze = async ({ paths }) => {
  isAnalysing = true;
  installConvex({ isAnalysis: true });
  const modules = {};
  for (const path of paths) modules[path] = await analyzed(path);
  isAnalysing = false;
  send({ kind: "analyzed", modules });
};

// --- the host's messages ------------------------------------------------------------------------------

const handlers = {
  environment: ({ variables }) => void Object.assign(process.env, variables),
  call: run,
  answer: calls.answered,
  analyze,
};

installConsole(calls.print);
installConvex({ isAnalysis: false });
globalThis.require = createRequire(FOLDER_URL); // bundled CommonJS packages ask for Node's modules with it
listen((message) => handlers[message.kind](message), endWithEverything);
