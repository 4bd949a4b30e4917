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

export const schedulesItself = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => ctx.scheduler.runAfter(0, internal.actions.inner, { name }),
});
