// Blob and File. One case a paragraph: the body of an async function.

return [new Blob().size, new Blob([]).type, new Blob(["a", "é", new Uint8Array([1, 2])]).size];

return [new Blob(["x"], { type: "Text/Plain; A=B" }).type, new Blob([], { type: "é" }).type];

return await new Blob(["ab", new Blob(["cd"]), new Uint8Array([101, 102]).buffer]).text();

return await new Blob([new Uint8Array([255, 97])]).text();

return await new Blob(["\uD800"]).text();

return await new Blob([1, null, void 0, { a: 1 }]).text();

return [...new Uint8Array(await new Blob(["abc"]).slice(1).arrayBuffer())];

return new Blob(["abc"], { type: "a/b" }).slice(0, 2).type;

return new Blob(["abc"]).slice(0, 2, "A/B").type;

const b = new Uint8Array([1]);
const blob = new Blob([b]);
b[0] = 2;
return [...new Uint8Array(await blob.arrayBuffer())];

return new Blob("text");

return new Blob(5);

return new Blob(null);

return new Blob([], 5);

return new Blob([], null).size;

return new Blob(["a"], { endings: "odd" });

return await new Blob(["a\r\nb\n"], { endings: "native" }).text();

return await new Blob(["a\r\nb"]).text();

const parts = [];
for await (const part of new Blob(["abc", "def"]).stream()) parts.push(...part);
return parts;

return (await new Response(new Blob([new Uint8Array(2e5)]).stream()).arrayBuffer()).byteLength;

const r = new Blob(["abc"]).stream().getReader({ mode: "byob" });
const { value } = await r.read(new Uint8Array(2));
return [...value];

return Object.prototype.toString.call(new Blob()) + Object.prototype.toString.call(new File([], "n"));

const f = new File(["ab"], "n.txt", { type: "T/P", lastModified: 5 });
return [f.name, f.type, f.size, f.lastModified, f instanceof Blob];

return typeof new File([], "n").lastModified;

return new File([]);

return new File([], "a/\uD800").name;

return new File([], "a", { lastModified: "7" }).lastModified;
