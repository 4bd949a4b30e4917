// A file's life through the unmodified npm client; prints `> ` and JSON, one observation per line.
// Usage: node files.mjs <url>
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_MODULES, "anchor.js"));
const { ConvexClient, ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");
const WebSocket = require("ws");

const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));
const { files } = anyApi;
const url = process.argv[2];
const client = new ConvexHttpClient(url);
const content = Buffer.from("Der Zauberlehrling, Ä".repeat(1000));
const sha256 = createHash("sha256").update(content).digest();

const uploadUrl = await client.mutation(files.uploadUrl, {});
say("upload url", uploadUrl.startsWith(`${url}/api/storage/upload?token=`));
const post = (body, headers) => fetch(uploadUrl, { method: "POST", body, headers });
const digest = `sha-256=${sha256.toString("base64")}`;
const uploaded = await post(content, { "Content-Type": "text/plain; charset=utf-8", Digest: digest });
const { storageId: id } = await uploaded.json();

const address = await client.query(files.url, { id });
const uuid = address.slice(address.lastIndexOf("/") + 1);
say("address", address.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "UUID") === `${url}/api/storage/UUID`);
say("same by uuid", (await client.query(files.url, { id: uuid })) === address);

const whole = await fetch(address);
say("whole", {
  status: whole.status,
  type: whole.headers.get("content-type"),
  digest: whole.headers.get("digest") === digest,
  same: Buffer.from(await whole.arrayBuffer()).equals(content),
});
const part = await fetch(address, { headers: { Range: "bytes=4-15" } });
say("part", [part.status, part.headers.get("content-range"), await part.text()]);

const row = await client.query(files.row, { id });
say("row", { ...row, _creationTime: typeof row._creationTime, _id: row._id === id, sha256: row.sha256 === sha256.toString("base64") });
say("newest", (await client.query(files.newest, {}))._id === id);
const metadata = await client.query(files.metadata, { id });
say("metadata", { ...metadata, storageId: metadata.storageId === uuid, sha256: metadata.sha256 === sha256.toString("hex") });

const refused = await post("other bytes", { Digest: digest });
say("mismatch", [refused.status, (await refused.json()).code]);
const forged = await fetch(uploadUrl.replace(/.{8}$/, "AAAAAAAA"), { method: "POST", body: "x" });
say("forged", [forged.status, (await forged.json()).code]);

const copied = await client.mutation(files.copy, { id, suffix: "!" });
const copy = await fetch(await client.query(files.url, { id: copied }));
say("copy", [copy.headers.get("content-type"), (await copy.text()) === content.toString() + "!"]);
say("in queries", await client.query(files.lookInVain, {}));

const failure = async (call) => {
  try {
    await call;
  } catch (error) {
    return error.message;
  }
};
await failure(client.mutation(files.removeAndFail, { id }));
say("kept", (await client.query(files.url, { id })) === address);

const live = new ConvexClient(url, { webSocketConstructor: WebSocket });
const gone = new Promise((resolve) => {
  live.onUpdate(files.url, { id }, (value) => value === null && resolve(true));
});
await client.mutation(files.remove, { id });
say("live query heard", await gone);
await live.close();
say("url after", await client.query(files.url, { id }));
const after = await fetch(address);
say("download after", [after.status, (await after.json()).code]);
say("again", await failure(client.mutation(files.remove, { id })).then((text) => text.includes(`storage id ${id} not found`)));
say("wrong id", await failure(client.query(files.url, { id: "nonsense" })).then((text) => text.includes('Invalid storage ID: "nonsense"')));
