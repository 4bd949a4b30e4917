// Actions, as apps write them: they call functions, schedule, wait, fail.
import { ConvexError, v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalAction, mutation } from "./_generated/server";

export const twice = action({
  args: { name: v.string() },
  returns: v.object({ counts: v.array(v.number()), last: v.number() }),
  handler: async (ctx, { name }): Promise<{ counts: number[]; last: number }> => {
    console.log("counting", name);
    const first = await ctx.runMutation(api.messages.increment, { name });
    const second: number = await ctx.runAction(internal.actions.inner, { name });
    return { counts: [first, second], last: await ctx.runQuery(api.messages.count, { name }) };
  },
});

export const inner = internalAction({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<number> => ctx.runMutation(api.messages.increment, { name }),
});

export const fails = action({
  args: { how: v.string() },
  handler: async (_ctx, { how }) => {
    if (how === "convex") throw new ConvexError({ code: "NOPE", n: 5n });
    throw new Error("an action that fails");
  },
});

export const inParallel = action({
  args: { names: v.array(v.string()) },
  handler: async (ctx, { names }): Promise<number[]> =>
    Promise.all(names.map((name) => ctx.runMutation(api.messages.increment, { name }))),
});

export const schedules = action({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.scheduler.runAfter(0, internal.jobs.count, { name });
    const never = await ctx.scheduler.runAfter(60_000, internal.jobs.count, { name });
    await ctx.scheduler.cancel(never);
  },
});

export const loads = action({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<string> => {
    const { greet } = await import("./greetings");
    const { name: self } = await ctx.meta.getFunctionMetadata();
    return `${greet(name)} from ${self}, ${Date.now() > 0}`;
  },
});

export const waits = action({
  args: { ms: v.number() },
  handler: async (_ctx, { ms }) => {
    const ran: string[] = [];
    const started = Date.now();
    setTimeout(() => ran.push("timer"), ms / 2);
    const interval = setInterval(() => ran.push("tick"), ms / 4);
    await new Promise((resolve) => setTimeout(resolve, ms));
    clearInterval(interval);
    return { isLate: Date.now() - started >= ms - 1, timers: ran.filter((what) => what === "timer").length, ticked: ran.includes("tick") };
  },
});

export const fetches = action({
  args: { url: v.string(), body: v.union(v.string(), v.null()) },
  handler: async (_ctx, { url, body }) => {
    const answer = await fetch(url, body === null ? {} : { method: "PUT", body });
    return { status: answer.status, text: await answer.text(), type: answer.headers.get("content-type") };
  },
});

export const stores = action({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    const id = await ctx.storage.store(new Blob([text], { type: "text/plain" }));
    const url = await ctx.storage.getUrl(id);
    const served = await (await fetch(url!)).text();
    const read = await ctx.storage.get(id);
    const metadata = await ctx.storage.getMetadata(id);
    await ctx.storage.delete(id);
    const uploadUrl = await ctx.storage.generateUploadUrl();
    const uploaded = await (await fetch(uploadUrl, { method: "POST", body: text })).json();
    return {
      served: served === text,
      read: (await read!.text()) === text,
      type: read!.type,
      size: metadata!.size,
      gone: (await ctx.storage.get(id)) === null && (await ctx.storage.getUrl(id)) === null,
      uploaded: (await (await ctx.storage.get(uploaded.storageId))!.text()) === text,
    };
  },
});

export const schedulesItself = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => ctx.scheduler.runAfter(0, internal.actions.inner, { name }),
});

export const counted = action({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<number> => ctx.runMutation(api.messages.increment, { name }),
});
