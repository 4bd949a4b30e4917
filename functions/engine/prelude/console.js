// console (spec 03 3.5): every argument rendered by object-inspect, one host call for each line.
(() => {
  const host = globalThis.__host;
  const { console: write, inspect } = host;
  const OPTIONS = { indent: 2, maxStringLength: 32768, customInspect: true };
  const timers = new Map();

  const render = (value) => inspect(value, OPTIONS);
  const line = (level, messages) => write(level, JSON.stringify(messages.map((text) => text.toWellFormed())));
  const rendered = (level) => (...values) => line(level, values.map(render));

  const trace = (...values) => {
    const stack = new Error().stack.split("\n").filter((frame) => !frame.includes("(tidelog:"));
    line("LOG", [...values.map(render), `\n${stack.join("\n")}`]);
  };

  // Outside actions no time passes: a log line must not differ between two equal runs, nor count as
  // having observed the clock.
  const now = () => (host.state.kind === "action" ? Date.now() : 0);
  const elapsed = (label) => `${label}: ${Math.round(now() - timers.get(label))}ms`;
  const missing = (label) => line("WARN", [`Timer '${label}' does not exist`]);

  const time = (name = "default") => {
    const label = String(name);
    if (timers.has(label)) line("WARN", [`Timer '${label}' already exists`]);
    else timers.set(label, now());
  };

  const timeLog = (name = "default", ...values) => {
    const label = String(name);
    if (timers.has(label)) line("INFO", [elapsed(label), ...values.map(render)]);
    else missing(label);
  };

  const timeEnd = (name = "default") => {
    const label = String(name);
    if (!timers.has(label)) return missing(label);
    line("INFO", [elapsed(label)]);
    timers.delete(label);
  };

  globalThis.console = {
    debug: rendered("DEBUG"),
    error: rendered("ERROR"),
    info: rendered("INFO"),
    log: rendered("LOG"),
    warn: rendered("WARN"),
    trace,
    time,
    timeLog,
    timeEnd,
  };
})();
