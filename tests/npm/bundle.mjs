// Bundles an app's convex folder as the CLI does: node bundle.mjs FOLDER -> JSON {path: source} on stdout.
import { build } from "esbuild";
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";

const folder = process.argv[2];
const SINGLE = ["schema.ts", "auth.config.ts", "convex.config.ts"]; // bundled alone, without shared chunks
const files = readdirSync(folder, { recursive: true })
  .map(String)
  .filter((name) => /\.[jt]sx?$/.test(name) && !name.startsWith("_generated"));

const options = {
  bundle: true,
  platform: "browser",
  format: "esm",
  target: "esnext",
  outdir: "out",
  outbase: folder,
  conditions: ["convex", "module"],
  write: false,
  minifySyntax: true,
  minifyIdentifiers: true,
  keepNames: true,
  define: { "process.env.NODE_ENV": '"production"' },
  nodePaths: [join(import.meta.dirname, "node_modules")],
};

const bundle = async (names, splitting) => {
  if (names.length === 0) return [];
  const entryPoints = names.map((name) => join(folder, name));
  const result = await build({ ...options, entryPoints, splitting, chunkNames: "_deps/[hash]" });
  return result.outputFiles.map((file) => [relative(join(process.cwd(), "out"), file.path), file.text]);
};

const shared = await bundle(files.filter((name) => !SINGLE.includes(name)), true);
const single = await Promise.all(SINGLE.filter((name) => files.includes(name)).map((name) => bundle([name], false)));
process.stdout.write(JSON.stringify(Object.fromEntries([...shared, ...single.flat()])));
