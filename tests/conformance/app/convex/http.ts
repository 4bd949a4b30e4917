// HTTP actions: routes of every kind, bodies in both directions, failures.
import { httpRouter } from "convex/server";
import { ConvexError } from "convex/values";
import { api } from "./_generated/api";
import { httpAction } from "./_generated/server";

const http = httpRouter();
const pieces = (parts: string[]) => {
  const encoder = new TextEncoder();
  return new ReadableStream({
    pull(controller) {
      const part = parts.shift();
      if (part === undefined) controller.close();
      else controller.enqueue(encoder.encode(part));
    },
  });
};

http.route({
  path: "/hello",
  method: "GET",
  handler: httpAction(async (_ctx, request) => {
    const url = new URL(request.url);
    return new Response(`hello ${url.searchParams.get("name")} of ${url.origin}${url.pathname}`, {
      headers: { "x-seen": request.headers.get("x-given") ?? "none", "content-type": "text/plain" },
    });
  }),
});

http.route({
  path: "/count",
  method: "POST",
  handler: httpAction(async (ctx, request) => {
    const { name } = await request.json();
    console.log("counting for", name);
    return Response.json({ count: await ctx.runMutation(api.messages.increment, { name }) }, { status: 201 });
  }),
});

http.route({
  path: "/cookies",
  method: "GET",
  handler: httpAction(async () => {
    const headers = new Headers([["set-cookie", "a=1"], ["set-cookie", "b=2"]]);
    return new Response(null, { status: 204, headers });
  }),
});

http.route({
  path: "/who",
  method: "GET",
  handler: httpAction(async (ctx, request) => {
    const given = request.headers.get("authorization");
    try {
      return Response.json({ given, subject: (await ctx.auth.getUserIdentity())?.subject ?? null });
    } catch (error) {
      return Response.json({ given, error: (error as Error).message });
    }
  }),
});

http.route({
  path: "/stream",
  method: "GET",
  handler: httpAction(async () => new Response(pieces(["one ", "two ", "three"]))),
});

http.route({
  path: "/breaks-late",
  method: "GET",
  handler: httpAction(async () => {
    let calls = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (calls++ > 0) throw new Error("too late");
        controller.enqueue(new TextEncoder().encode("begun"));
      },
    });
    return new Response(body);
  }),
});

/** The response of another server, as it comes. */
http.route({
  path: "/relay",
  method: "GET",
  handler: httpAction(async (_ctx, request) => {
    const found = await fetch(new URL(request.url).searchParams.get("url")!);
    return new Response(found.body, { headers: { "x-status": String(found.status) } });
  }),
});

http.route({
  path: "/echo",
  method: "PUT",
  handler: httpAction(async (_ctx, request) => new Response(request.body)),
});

http.route({
  path: "/json",
  method: "POST",
  handler: httpAction(async (_ctx, request) => Response.json(await request.json())),
});

http.route({
  path: "/unread",
  method: "POST",
  handler: httpAction(async () => new Response("unread")),
});

/** Counts under `NAME: why` when its request cannot be read, and under `NAME aborted` once the signal says so. */
http.route({
  path: "/read",
  method: "POST",
  handler: httpAction(async (ctx, request) => {
    const name = new URL(request.url).searchParams.get("name")!;
    const aborted = new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
    try {
      return new Response(String((await request.arrayBuffer()).byteLength));
    } catch (error) {
      await ctx.runMutation(api.messages.increment, { name: `${name}: ${(error as Error).message}` });
      await aborted;
      await ctx.runMutation(api.messages.increment, { name: `${name} aborted` });
      return new Response("unread");
    }
  }),
});

/** Answers before it reads, then tells how the reading ended. */
http.route({
  path: "/answer-first",
  method: "POST",
  handler: httpAction(async (_ctx, request) => {
    const body = new ReadableStream({
      async start(controller) {
        const tell = (text: string) => controller.enqueue(new TextEncoder().encode(text));
        tell("begun, ");
        await request.text().then((text) => tell(text), (error) => tell(error.message));
        controller.close();
      },
    });
    return new Response(body);
  }),
});

http.route({
  path: "/form",
  method: "POST",
  handler: httpAction(async (_ctx, request) => {
    const form = await request.formData();
    return Response.json([...form].map(([name, value]) => [name, typeof value === "string" ? value : value.size]));
  }),
});

/** The same body for three readers. */
http.route({
  path: "/shared",
  method: "POST",
  handler: httpAction(async (_ctx, request) => {
    const copy = request.clone();
    const moved = new Request(request);
    const [first, second] = await Promise.all([copy.blob(), moved.bytes()]);
    return Response.json([first.size, second.length, request.bodyUsed]);
  }),
});

/** Takes one piece and wants no more. */
http.route({
  path: "/first-piece",
  method: "POST",
  handler: httpAction(async (_ctx, request) => {
    const reader = request.body!.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return new Response(value);
  }),
});

http.route({
  path: "/large",
  method: "GET",
  handler: httpAction(async () => {
    let left = 25;
    const body = new ReadableStream({
      pull(controller) {
        if (left-- === 0) controller.close();
        else controller.enqueue(new Uint8Array(1024 * 1024));
      },
    });
    return new Response(body);
  }),
});

http.route({
  path: "/fails",
  method: "GET",
  handler: httpAction(async () => {
    throw new Error("no answer");
  }),
});

http.route({
  path: "/refuses",
  method: "GET",
  handler: httpAction(async () => {
    throw new ConvexError({ code: "NOPE" });
  }),
});

http.route({
  path: "/nothing",
  method: "GET",
  handler: httpAction((async () => "text") as any),
});

const untilGone = httpAction(async (ctx, request) => {
  const name = new URL(request.url).searchParams.get("name")!;
  const gone = new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
  void gone.then(() => ctx.runMutation(api.messages.increment, { name }));
  const body = new ReadableStream({
    async start(controller) {
      controller.enqueue(new TextEncoder().encode("waiting"));
      await gone;
      await ctx.runMutation(api.messages.increment, { name });
      controller.close();
    },
  });
  return new Response(body);
});

for (const method of ["GET", "POST"] as const) http.route({ path: "/until-gone", method, handler: untilGone });

http.route({
  pathPrefix: "/files/",
  method: "GET",
  handler: httpAction(async (_ctx, request) => new Response(`file ${new URL(request.url).pathname}`)),
});

http.route({
  pathPrefix: "/files/private/",
  method: "GET",
  handler: httpAction(async () => new Response("private", { status: 403 })),
});

http.route({
  path: "/hello",
  method: "OPTIONS",
  handler: httpAction(async () => new Response(null, { headers: { "access-control-allow-origin": "*" } })),
});

export default http;
