// Streams read, written and piped. One case a paragraph: the body of an async function.

// helpers
const all = async (stream) => {
  const seen = [];
  for await (const chunk of stream) seen.push(chunk);
  return seen;
};
const from = (...chunks) => new ReadableStream({ start(c) {
  for (const x of chunks) c.enqueue(x);
  c.close();
} });

return await all(from(1, 2, 3));

const r = from(1).getReader();
return [await r.read(), await r.read(), await r.closed];

const s = from(1);
s.getReader();
return s.getReader();

const s = from(1, 2);
const r = s.getReader();
await r.read();
r.releaseLock();
return [s.locked, await all(s)];

const [a, b] = from(1, 2).tee();
return [await all(a), await all(b)];

let why;
const s = new ReadableStream({ cancel(r) {
  why = r;
} });
await s.cancel("enough");
return [why, await all(s)];

return await all(new ReadableStream({ start(c) {
  c.error(new RangeError("x"));
} }));

let n = 0;
return await all(new ReadableStream({ pull(c) {
  n < 3 ? c.enqueue(n++) : c.close();
} }));

const sizes = [];
new ReadableStream({ start(c) {
  sizes.push(c.desiredSize);
  c.enqueue(1);
  sizes.push(c.desiredSize);
} }, new CountQueuingStrategy({ highWaterMark: 3 }));
return sizes;

let size;
new ReadableStream({ start(c) {
  c.enqueue(new Uint8Array(5));
  size = c.desiredSize;
} }, new ByteLengthQueuingStrategy({ highWaterMark: 8 }));
return size;

const s = new ReadableStream({ type: "bytes", start(c) {
  c.enqueue(new Uint8Array([1, 2, 3, 4]));
  c.close();
} });
const r = s.getReader({ mode: "byob" });
const { value } = await r.read(new Uint8Array(3));
return [...value];

const s = new ReadableStream({ type: "bytes", pull(c) {
  c.byobRequest.view[0] = 9;
  c.byobRequest.respond(1);
} });
const r = new ReadableStreamBYOBReader(s);
return [...(await r.read(new Uint8Array(2))).value];

return from(1).getReader({ mode: "byob" });

return await all(ReadableStream.from(["a", "b"]));

return new ReadableStreamDefaultReader({});

for await (const chunk of from(1, 2, 3)) if (chunk === 2) return chunk;

return [from().constructor.name, Object.prototype.toString.call(from()), ReadableStreamDefaultReader.
name];

const seen = [];
const w = new WritableStream({ write(x) {
  seen.push(x);
}, close() {
  seen.push("end");
} }).getWriter();
await w.write(1);
w.write(2);
await w.close();
return seen;

const w = new WritableStream({ write() {
  throw new RangeError("x");
} }).getWriter();
w.closed.catch(() => {
});
await w.ready;
return await w.write(1);

const w = new WritableStream({}, { highWaterMark: 2 }).getWriter();
const before = w.desiredSize;
w.write(1);
return [before, w.desiredSize];

let why;
const s = new WritableStream({ abort(r) {
  why = r;
} });
await s.abort("stop");
return why;

const s = new WritableStream();
s.getWriter();
return s.getWriter();

const seen = [];
await from(1, 2).pipeTo(new WritableStream({ write(x) {
  seen.push(x);
} }));
return seen;

return await from(1).pipeTo(new WritableStream({ write() {
  throw new RangeError("x");
} }));

const c = new AbortController();
c.abort(new RangeError("x"));
return await from(1).pipeTo(new WritableStream(), { signal: c.signal });

return await all(from(1, 2).pipeThrough(new TransformStream({ transform(x, c) {
  c.enqueue(x * 2);
  c.enqueue(x);
} })));

return await all(from(1).pipeThrough(new TransformStream()));

return await all(from(1).pipeThrough(new TransformStream({ flush(c) {
  c.enqueue("end");
} })));

return await all(from(1).pipeThrough(new TransformStream({ transform() {
  throw new RangeError("x");
} })));

return await all(from(1, 2, 3).pipeThrough(new TransformStream({ transform(x, c) {
  c.enqueue(x);
  c.terminate();
} })));

return (await all(from("aé", "\uD83C", "\uDF0A", "\uD83C", "x", "\uD800").pipeThrough(new TextEncoderStream()))).
map((b) => [...b]);

return await all(from(new Uint8Array([239, 187, 191, 97]), new Uint8Array([195]), new Uint8Array([
169])).pipeThrough(new TextDecoderStream()));

return await all(from(new Uint8Array([195])).pipeThrough(new TextDecoderStream()));

return await all(from(new Uint8Array([255])).pipeThrough(new TextDecoderStream("utf-8", { fatal: true })));

return [new TextDecoderStream().encoding, new TextEncoderStream().encoding, new TextDecoderStream(
"utf8", { ignoreBOM: true }).ignoreBOM];

return await new Response(from("a", "b").pipeThrough(new TextEncoderStream())).text();

return await all(new Response("é").body.pipeThrough(new TextDecoderStream()));
