// Response. One case a paragraph: the body of an async function.

const r = new Response("hé");
return [r.status, r.statusText, r.ok, r.type, r.url, r.redirected, r.bodyUsed, [...r.headers]];

const r = new Response("hé");
return [await r.text(), r.bodyUsed];

return await new Response('{"a":[1]}').json();

return await new Response("{").json();

return [...new Uint8Array(await new Response("hé").arrayBuffer())];

const b = await new Response("x", { headers: { "content-type": "A/b" } }).blob();
return [b.type, b.size];

return (await new Response("x").blob()).type;

const r = new Response("x");
await r.text();
return await r.text();

const r = new Response();
return [r.body, await r.text(), r.bodyUsed, await r.text(), (await r.blob()).size];

const r = new Response("");
return [r.body === null, await r.text(), r.bodyUsed];

return new Response("x", { status: 204 });

return new Response(null, { status: 204 }).status;

return new Response("x", { status: 199 });

return new Response("x", { status: 600 });

return new Response("x", { status: 99999 });

return new Response("x", { statusText: "a\nb" });

return new Response("x", { status: 418, statusText: "Teapot", headers: { a: "b" } }).statusText;

return [...new Response(new URLSearchParams({ a: "b c" })).headers];

return await new Response(new URLSearchParams({ a: "b c" })).text();

return [...new Response(new Blob(["x"], { type: "a/b" })).headers, ...new Response(new Blob(["x"])).
headers];

return [...new Response(new Uint8Array([1])).headers];

return [...new Response("x", { headers: { "content-type": "own" } }).headers];

  return new Response(new FormData()).headers.get("content-type").startsWith("multipart/form-data; b\
oundary=");

return await new Response(5).text() + await new Response({}).text() + await new Response(true).text();

const r = new Response("x");
const c = r.clone();
return [await r.text(), await c.text(), c.headers.get("content-type")];

const r = new Response("x");
await r.text();
return r.clone();

const r = new Response("x", { status: 201, headers: { q: "r" } });
const c = r.clone();
c.headers.set("q", "s");
return [c.status, r.headers.get("q")];

const r = new Response(new ReadableStream({ start(c2) {
  c2.enqueue(new TextEncoder().encode("ab"));
  c2.close();
} }));
const c = r.clone();
return [await c.text(), await r.text()];

const r = new Response(new ReadableStream({ start(c) {
  c.enqueue("text");
  c.close();
} }));
return await r.text();

const r = new Response(new ReadableStream({ start(c) {
  c.error(new RangeError("x"));
} }));
return await r.text();

const s = new ReadableStream();
s.getReader();
return new Response(s);

const r = new Response("abc");
const reader = r.body.getReader();
const first = await reader.read();
return [new TextDecoder().decode(first.value), (await reader.read()).done, r.bodyUsed];

const r = new Response("abc");
r.body.getReader();
return [r.bodyUsed, await r.text()];

const r = new Response("abc");
const { body } = r;
return [body === r.body, body.locked, await r.text(), r.bodyUsed, r.body === body];

const r = new Response("abc");
await r.text();
return [r.body.locked, r.bodyUsed];

const r = Response.json({ a: 1 }, { status: 201, headers: { x: "y" } });
return [r.status, [...r.headers], await r.json()];

return [...Response.json(1, { headers: { "content-type": "own" } }).headers];

return Response.json(void 0);

return Response.json(() => {
});

return Response.json("x", { status: 204 });

const r = Response.error();
return [r.type, r.status, r.body, r.ok];

Response.error().headers.set("a", "b");

const r = Response.redirect("https://a.test/b c", 301);
return [r.status, r.headers.get("location"), r.body];

return Response.redirect("https://a.test").status;

return Response.redirect("https://a.test", 200);

return Response.redirect("not a url");

Response.redirect("https://a.test").headers.set("a", "b");

  const f = await new Response("a=1&b=x+y&a=%C3%A9", { headers: { "content-type": "application/x-www\
-form-urlencoded" } }).formData();
  return [...f];

return await new Response("a=1").formData();

return await new Response("a=1", { headers: { "content-type": "a/b" } }).formData();

return await new Response("\uFEFFx").text();

return await new Response("\uFEFF1").json();

return new Response("x", 5);

return new Response("x", null).status;

return Object.prototype.toString.call(new Response());
