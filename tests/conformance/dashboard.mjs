// What the dashboard does with a table, through the unmodified npm client with an admin key; prints `> ` and
// JSON, one observation per line.  Usage: node dashboard.mjs <url> <admin key>
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient } = require("convex/browser");
const { makeFunctionReference } = require("convex/server");

const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const [url, key] = process.argv.slice(2);
const client = new ConvexClient(url);
client.setAdminAuth ? client.setAdminAuth(key) : client.client.setAdminAuth(key);

const named = (name) => makeFunctionReference(`_system/frontend/${name}`);
const edit = (name, args) => client.mutation(named(name), { componentId: null, ...args });
const encoded = (filters) => Buffer.from(JSON.stringify(filters)).toString("base64");

const heard = [];
let wake = () => {};
const filters = encoded({ clauses: [{ op: "gte", field: "n", value: 2, enabled: true, id: "1" }], order: "asc" });
const page = {
  componentId: null,
  table: "edited",
  filters,
  paginationOpts: { numItems: 10, cursor: null, id: 1 },
};
client.onUpdate(named("paginatedTableDocuments"), page, ({ page }) => {
  heard.push(page);
  wake();
});
const shown = async (count) => {
  while (heard.length === 0 || heard.at(-1).length !== count) await new Promise((resolve) => (wake = resolve));
  return heard.at(-1);
};

await edit("createTable", { table: "edited" });
say("empty", (await shown(0)).length);
say("added", await edit("addDocument", { table: "edited", documents: [{ n: 1 }, { n: 2 }, { n: 3 }] }));
const [second, third] = await shown(2);
say("shown", [second.n, third.n]);
say("patched", await edit("patchDocumentsFields", { table: "edited", ids: [second._id], fields: { n: 0 } }));
say("left", (await shown(1)).map((document) => document.n));
say("replaced", await edit("replaceDocument", { id: second._id, document: { n: 7, text: "new" } }));
say("back", (await shown(2)).map((document) => document.n));
const doomed = [{ id: third._id, tableName: "edited" }];
say("deleted", await edit("deleteDocuments", { toDelete: doomed }));
say("one", (await shown(1)).map((document) => document.n));
say("refused", await edit("addDocument", { table: "messages", documents: [{ odd: 1 }] }).catch((e) => e.data));
say("cleared", await edit("clearTablePage", { tableName: "edited", cursor: null }));
say("none", (await shown(0)).length);
const upload = await edit("fileStorageV2:generateUploadUrl", {});
const { storageId } = await (await fetch(upload, { method: "POST", body: "from the dashboard" })).json();
const file = await client.query(named("fileStorageV2:getFile"), { componentId: null, storageId });
say("file", await (await fetch(file.url)).text());
await edit("fileStorageV2:deleteFile", { storageId });
say("gone", await client.query(named("fileStorageV2:getFile"), { componentId: null, storageId }));
await client.close();
