// fetch(): one paragraph, one case. BASE and OTHER are origins of tests/support/http_peer.py.

// helpers
const echo = async (...args) => {
  const { method, path, headers, body } = await (await fetch(...args)).json();
  return { method, path, type: headers["content-type"] ?? null, length: headers["content-length"] ?? null, body };
};

return echo(BASE + "/echo?a=%41%2f&b=ä#fragment");

return echo(BASE + "/echo", { method: "POST", body: "text" });

return echo(BASE + "/echo", { method: "put", body: new Uint8Array([1, 2, 255]) });

return echo(BASE + "/echo", { method: "POST", body: new URLSearchParams({ a: "1 2" }) });

return echo(BASE + "/echo", { method: "POST", body: new Blob(["blob"], { type: "image/x" }) });

return echo(BASE + "/echo", { method: "POST", headers: { "Content-Type": "a/b" }, body: "x" });

return echo(BASE + "/echo", { method: "POST" });

return (await echo(BASE + "/echo", { method: "DELETE" })).method;

return echo(new Request(BASE + "/echo", { method: "POST", body: "in a request" }));

return echo(new Request(BASE + "/echo", { method: "POST", body: "a" }), { body: "b" });

return echo(new URL(BASE + "/echo"));

const request = new Request(BASE + "/echo", { method: "POST", body: "once" });
await fetch(request);
return [request.bodyUsed, await fetch(request)];

const response = await fetch(BASE + "/echo#there");
return [response.ok, response.status, response.statusText, response.type, response.url === BASE + "/echo", response.redirected];

const response = await fetch(BASE + "/status/404");
return [response.ok, response.status, response.statusText, await response.text()];

const response = await fetch(BASE + "/status/204");
return [response.status, response.body, await response.text()];

const response = await fetch(BASE + "/echo", { method: "HEAD" });
return [response.body, await response.text(), response.headers.get("content-type")];

const response = await fetch(BASE + "/echo");
response.headers.set("a", "b");

const response = await fetch(BASE + "/echo");
await response.text();
return [response.bodyUsed, await response.text()];

const response = await fetch(BASE + "/echo", { method: "POST", body: "x".repeat(200_000) });
const copy = response.clone();
const [one, two] = await Promise.all([response.text(), copy.text()]);
return [one === two, one.length > 200_000, copy.url === response.url, copy.type];

const response = await fetch(BASE + "/echo");
const stream = response.body;
return [stream === response.body, stream.locked, response.bodyUsed, (await new Response(stream).json()).method, response.bodyUsed];

return (await fetch(BASE + "/latin")).headers.get("x-name");

const texts = [];
for (const coding of ["gzip", "deflate", "br", "identity"]) texts.push((await (await fetch(`${BASE}/coded/${coding}`)).text()).length);
return texts;

return echo(BASE + "/redirect/301?to=/echo", { method: "POST", body: "x", headers: { "content-language": "en" } });

return echo(BASE + "/redirect/302?to=/echo", { method: "POST", body: "x" });

return echo(BASE + "/redirect/302?to=/echo", { method: "PUT", body: "x" });

return echo(BASE + "/redirect/303?to=/echo", { method: "PUT", body: "x" });

return (await fetch(BASE + "/redirect/303?to=/echo", { method: "HEAD" })).status;

return echo(BASE + "/redirect/307?to=/echo", { method: "POST", body: "again" });

return echo(BASE + "/redirect/308?to=" + encodeURIComponent(OTHER + "/echo"), { method: "POST", body: "again" });

const response = await fetch(BASE + "/redirect/302?to=/status/201");
return [response.status, response.redirected, response.url === BASE + "/status/201"];

const response = await fetch(BASE + "/redirect/302?to=/echo", { redirect: "manual" });
return [response.status, response.headers.get("location"), response.redirected, await response.text()];

const response = await fetch(BASE + "/redirect/302");
return [response.status, await response.text()];

return (await fetch(BASE + "/redirect/304?to=/echo")).status;

await fetch(BASE + "/redirect/302?to=http://:x/");

await fetch("/echo");

await fetch(BASE + "/echo", { method: "GET", body: "x" });

await fetch(BASE + "/echo", { headers: { "a b": "c" } });

const controller = new AbortController();
controller.abort(new RangeError("mine"));
await fetch(BASE + "/echo", { signal: controller.signal });

const chunks = [new Uint8Array([97]), new Uint8Array(0), new Uint8Array([98, 99])];
const body = new ReadableStream({ pull: (c) => (chunks.length ? c.enqueue(chunks.shift()) : c.close()) });
return echo(BASE + "/echo", { method: "POST", body, duplex: "half" });

const body = new ReadableStream({ start: (c) => c.close() });
return (await echo(BASE + "/redirect/303?to=/echo", { method: "POST", body, duplex: "half" })).method;

const all = await Promise.all([1, 2, 3, 4, 5].map((n) => echo(`${BASE}/echo?n=${n}`)));
return all.map(({ path }) => path);
