// `usePaginatedQuery` of the unmodified convex/react in headless Chromium: what React committed, step by step.
// Prints `> ` and JSON, one step per line: [name, [[status, [bodies]], ...]].
// Usage: node paginated.mjs <url> <chromium> <channel> <scenario>
import http from "node:http";
import { launch, require } from "./chromium.mjs";

const [url, chromium, channel, scenario] = process.argv.slice(2);
const { ConvexHttpClient } = require("convex/browser");
const { anyApi } = require("convex/server");
const server = new ConvexHttpClient(url);

/** The app of the page: it renders nothing, and notes each state that was committed. */
const APP = `
  import { createElement, useEffect } from "react";
  import { createRoot } from "react-dom/client";
  import { ConvexProvider, ConvexReactClient, usePaginatedQuery } from "convex/react";
  import { anyApi } from "convex/server";

  window.seen = [];
  function Feed({ name, channel, initialNumItems }) {
    const { results, status, loadMore } = usePaginatedQuery(anyApi.messages[name], { channel }, { initialNumItems });
    const state = JSON.stringify([status, results.map((row) => row.body)]);
    useEffect(() => {
      window.seen.push(JSON.parse(state));
    }, [state]);
    useEffect(() => {
      window.loadMore = loadMore;
    }, [loadMore]);
    return null;
  }
  const root = createRoot(document.body);
  const client = new ConvexReactClient(${JSON.stringify(url)});
  window.show = (props) => root.render(createElement(ConvexProvider, { client }, createElement(Feed, props)));
`;

async function bundled() {
  const built = await require("esbuild").build({
    stdin: { contents: APP, resolveDir: process.env.NODE_MODULES },
    nodePaths: [process.env.NODE_MODULES],
    bundle: true,
    write: false,
    define: { "process.env.NODE_ENV": '"development"' },
  });
  return built.outputFiles[0].text;
}

// Really served: Chromium lets no page of another network connect to this machine.
const pages = http.createServer((_request, response) => response.setHeader("Content-Type", "text/html").end("<body>"));
await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
const browser = await launch(chromium);
try {
  const page = await browser.newPage();
  page.on("console", (message) => console.log(message.text()));
  page.on("pageerror", (error) => console.log("> " + JSON.stringify(["page error", String(error)])));
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  await page.addScriptTag({ content: await bundled() });

  /** Do something, wait for a state, and tell all states on the way to it. */
  const step = async (name, act, [status, length]) => {
    await page.evaluate(() => (window.seen.length = 0));
    await act();
    const isReached = ([status, length]) => {
      const [last, bodies] = window.seen.at(-1) ?? [];
      return last === status && bodies.length === length;
    };
    try {
      await page.waitForFunction(isReached, [status, length]);
    } finally {
      console.log("> " + JSON.stringify([name, await page.evaluate(() => window.seen)]));
    }
  };
  const send = (body, where = channel) => server.mutation(anyApi.messages.send, { channel: where, body });
  const show = (props) => page.evaluate((given) => window.show(given), { channel, ...props });
  const more = (count) => page.evaluate((number) => window.loadMore(number), count);

  const scenarios = {
    async feed() {
      const ids = [];
      for (let n = 0; n < 7; n++) ids.push(await send(`m${n}`));
      await step("first", () => show({ name: "page", initialNumItems: 3 }), ["CanLoadMore", 3]);
      await step("more", () => more(3), ["CanLoadMore", 6]);
      await step("inserted", () => send("m7"), ["CanLoadMore", 7]);
      await step("removed", () => server.mutation(anyApi.messages.remove, { id: ids[5] }), ["CanLoadMore", 6]);
      await step("last", () => more(3), ["Exhausted", 7]);
      for (let n = 8; n < 14; n++) await step(`m${n}`, () => send(`m${n}`), ["Exhausted", n]);
      await send("other", `${channel}-2`);
      await step("other", () => show({ name: "page", channel: `${channel}-2`, initialNumItems: 3 }), ["Exhausted", 1]);
      await step("nothing", () => show({ name: "page", channel: "nothing here", initialNumItems: 3 }), ["Exhausted", 0]);
    },
    async turn() {
      for (let n = 0; n < 6; n++) await send(`m${n}`);
      await step("first", () => show({ name: "pageThatTurns", initialNumItems: 2 }), ["CanLoadMore", 2]);
      await step("more", () => more(2), ["CanLoadMore", 4]);
      const turn = () => server.mutation(anyApi.messages.increment, { name: channel });
      await step("turned", turn, ["CanLoadMore", 2]);
    },
    async cut() {
      for (let n = 0; n < 10; n++) await send(`m${n}`);
      await step("first", () => show({ name: "pageOfFour", initialNumItems: 6 }), ["CanLoadMore", 4]);
      await step("more", () => more(6), ["CanLoadMore", 8]);
      await step("last", () => more(6), ["Exhausted", 10]);
      await step("inserted", () => send("m10"), ["Exhausted", 11]);
    },
  };
  await scenarios[scenario]();
} finally {
  await browser.close();
  pages.close();
}
