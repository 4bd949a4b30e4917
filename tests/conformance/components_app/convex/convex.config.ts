import { defineApp } from "convex/server";
import { v } from "convex/values";
import aggregate from "@convex-dev/aggregate/convex.config";
import rateLimiter from "@convex-dev/rate-limiter/convex.config";
import workpool from "@convex-dev/workpool/convex.config";
import ledger from "./components/ledger/convex.config";

const app = defineApp({ env: { LEDGER_NOTE: v.optional(v.string()) } });
app.use(ledger, { httpPrefix: "/ledger", env: { CURRENCY: "EUR", NOTE: app.env.LEDGER_NOTE } });
app.use(ledger, { name: "second", env: { CURRENCY: "CHF" } });
app.use(aggregate);
app.use(rateLimiter);
app.use(workpool);

export default app;
