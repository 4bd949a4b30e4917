import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();
crons.interval("interest", { hours: 24 }, internal.entries.addHidden, { account: "interest", amount: 1 });

export default crons;
