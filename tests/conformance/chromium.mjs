// Headless Chromium without what only a desktop needs. NODE_MODULES says where npm packages are.
import { createRequire } from "node:module";
import path from "node:path";

export const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));

export const launch = (executablePath) =>
  require("playwright-core").chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
