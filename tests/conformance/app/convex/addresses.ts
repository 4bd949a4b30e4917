import { v } from "convex/values";
import { query } from "./_generated/server";

export const own = query({
  args: {},
  returns: v.array(v.string()),
  handler: async () => [process.env.CONVEX_CLOUD_URL!, process.env.CONVEX_SITE_URL!],
});
