// Request. One case a paragraph: the body of an async function.

const r = new Request("https://a.test/b?c#d");
return [r.url, r.method, [...r.headers], r.body, r.bodyUsed, r.signal.aborted];

  return ["get", "Post", "patch", "PATCH", "delete", "custom"].map((method) => new Request("https://\
a.test", { method }).method);

return new Request("https://a.test", { method: "TRACE" });

return new Request("https://a.test", { method: "bad method" });

return new Request("https://a.test", { body: "x" });

return new Request("https://a.test", { method: "HEAD", body: "x" });

return new Request("/relative");

return new Request("https://u:p@a.test");

return new Request();

return new Request("https://a.test", 5);

return new Request(new URL("https://a.test/x")).url;

const r = new Request("https://a.test", { method: "POST", body: "héllo" });
return [await r.text(), r.bodyUsed, r.headers.get("content-type")];

const r = new Request("https://a.test", { method: "POST", body: "x" });
const s = new Request(r);
return [r.bodyUsed, await s.text()];

const r = new Request("https://a.test", { method: "POST", body: "x" });
await r.text();
return new Request(r);

const r = new Request("https://a.test", { method: "POST", body: "x" });
const s = new Request(r, { body: "y" });
return [r.bodyUsed, await s.text(), s.method];

const r = new Request("https://a.test", { method: "POST", body: "x" });
return new Request(r, { method: "GET" });

const r = new Request("https://a.test", { headers: { a: "b" } });
const s = new Request(r, { headers: { c: "d" } });
return [[...s.headers], [...new Request(r).headers]];

const r = new Request("https://a.test", { method: "POST", body: "x" });
const c = r.clone();
return [await r.text(), await c.text(), c.method, c.url];

const r = new Request("https://a.test", { method: "POST", body: "x" });
await r.text();
return r.clone();

const c = new AbortController();
const r = new Request("https://a.test", { signal: c.signal });
const k = r.clone();
c.abort("why");
return [r.signal.aborted, r.signal.reason, k.signal.aborted, r.signal === c.signal];

return new Request("https://a.test", { signal: {} });

return new Request("https://a.test", { signal: null }).signal.aborted;

return new Request("https://a.test", { redirect: "odd" });

return await new Request("https://a.test", { method: "POST", body: JSON.stringify({ a: 1 }) }).json();

return [...await new Request("https://a.test", { method: "POST", body: new URLSearchParams({ a: "b" }) }).
formData()];

const r = new Request("https://a.test", { method: "POST", duplex: "half", body: new Blob(["ab"]).stream() });
return await new Request(r).text();

return Object.prototype.toString.call(new Request("https://a.test"));
