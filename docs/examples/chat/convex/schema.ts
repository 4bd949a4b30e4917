import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  /** Read by channel, newest first: the index carries the creation time behind the channel. */
  messages: defineTable({
    channel: v.string(),
    author: v.id("users"),
    body: v.string(),
  }).index("by_channel", ["channel"]),

  /** One per browser; `token` is a secret only that browser knows. */
  users: defineTable({
    token: v.string(),
    name: v.string(),
  }).index("by_token", ["token"]),

  /** How many messages a channel has, so that nobody counts them. */
  counters: defineTable({
    channel: v.string(),
    messages: v.number(),
  }).index("by_channel", ["channel"]),
});
