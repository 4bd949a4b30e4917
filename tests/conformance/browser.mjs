// Two tabs of the example's page in headless Chromium; prints `> ` and JSON.
// Usage: node browser.mjs <page address> <chromium>
import { launch } from "./chromium.mjs";

const [address, executablePath] = process.argv.slice(2);
const say = (what, value) => console.log("> " + JSON.stringify([what, value ?? null]));

const browser = await launch(executablePath);
try {
  const tabs = [];
  for (const name of ["Ada", "Grace"]) {
    const tab = await (await browser.newContext()).newPage();
    tab.on("pageerror", (error) => say("page error", String(error)));
    await tab.goto(address);
    await tab.locator("#connection[data-state=live]").waitFor();
    await tab.locator("#name").fill(name);
    await tab.locator("#name").blur();
    tabs.push(tab);
  }
  for (const [number, tab] of tabs.entries()) {
    await tab.locator("#body").fill(`hello from tab ${number}`);
    await tab.locator("#composer button").click();
    const other = tabs[1 - number];
    await other.locator("#rows li", { hasText: `hello from tab ${number}` }).waitFor();
    say("seen by the other tab", number);
  }
  for (const tab of tabs) say("rows", await tab.locator("#rows li").count());
} finally {
  await browser.close();
}
