// Audit logging, as apps write it: what succeeded leaves lines, what failed or was rolled back leaves none.
import { log } from "convex/server";
import { v } from "convex/values";
import { api } from "./_generated/api";
import { action, mutation, query } from "./_generated/server";

const { vars } = log;

/** Audits and writes. */
export const sends = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.runMutation(api.messages.increment, { name });
    await log.audit({
      action: "sent",
      name,
      nothing: undefined,
      source: { ip: vars.ip, userAgent: vars.userAgent },
      who: [vars.convexActor, vars.requestId],
      at: vars.now,
    });
    return Date.now();
  },
});

/** Only audits. */
export const notes = mutation({
  args: { name: v.string() },
  handler: (_ctx, { name }) => log.audit({ action: "noted", name }),
});

export const looks = query({
  args: { name: v.string() },
  handler: (_ctx, { name }) => log.audit({ action: "looked", name }),
});

export const fails = mutation({
  args: { name: v.string() },
  handler: async (_ctx, { name }) => {
    await log.audit({ action: "failed", name });
    throw new Error("changed my mind");
  },
});

/** Calls what fails, and goes on. */
export const nests = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<void> => {
    await log.audit({ action: "before", name });
    await ctx.runMutation(api.audits.fails, { name }).catch(() => null);
    await ctx.runMutation(api.audits.notes, { name });
    await log.audit({ action: "after", name });
  },
});

/** What the package itself refuses before the server is asked. */
export const refused = mutation({
  args: {},
  handler: async () => {
    const texts = [];
    for (const body of [{ $a: 1 }, { a: { $var: "now" } }]) {
      texts.push(await log.audit(body).catch((error: Error) => error.message));
    }
    return texts;
  },
});

export const acts = action({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<string> => {
    await ctx.runMutation(api.audits.notes, { name: `${name} of an action` });
    return await log.audit({ action: "acted", name }).then(
      () => "audited",
      (error: Error) => error.message,
    );
  },
});

/** Who sent the request. */
export const requester = mutation({
  args: {},
  handler: async (ctx) => {
    const { ip, userAgent } = await ctx.meta.getRequestMetadata();
    return { ip, userAgent };
  },
});
