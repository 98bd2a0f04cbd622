// The console in Debian's Chromium. This program reads one command a line and answers each one with a line, both in JSON.
// A page keeps what must not happen: errors, violations of its policy, and requests to another server.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    "--disable-lcd-text", // Grey text: the pictures are smaller, and the same on each screen.
    "--no-sandbox", // Chromium's own sandbox does not work for root. The only pages here are those of the test.
    "--disable-background-networking",
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
  ],
});
const PATIENCE_MS = 20_000;
const AXE = readFileSync(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf-8");
const contexts = [];
const pages = [];

const watch = (page, origin) => {
  const troubles = [];
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (/Content Security Policy|Trusted Type/i.test(message.text())) troubles.push(`policy: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(`${origin}/`)) troubles.push(`request: ${request.url()}`);
  });
  return troubles;
};

const commands = {
  async person({ width = 1280, height = 800, scheme = "light" }) {
    const context = await browser.newContext({
      viewport: { width, height }, colorScheme: scheme, timezoneId: "UTC", permissions: ["clipboard-read", "clipboard-write"],
    });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
    });
    return contexts.push(context) - 1;
  },
  async open({ person, url }) {
    const page = await contexts[person].newPage();
    const troubles = watch(page, new URL(url).origin);
    await page.goto(url);
    await page.waitForSelector("html[data-ready]");
    return pages.push({ page, troubles }) - 1;
  },
  async go({ page, url }) {
    await pages[page].page.goto(url);
    await pages[page].page.waitForSelector("html[data-ready]");
  },
  async reload({ page }) {
    await pages[page].page.reload();
    await pages[page].page.waitForSelector("html[data-ready]");
  },
  click: ({ page, role, name, within, nth = 0 }) => found(page, role, name, within).nth(nth).click(),
  fill: ({ page, label, text, within }) => scope(page, within).getByLabel(label).first().fill(text),
  select: ({ page, label, value }) => pages[page].page.getByLabel(label).selectOption(value),
  press: ({ page, key }) => pages[page].page.keyboard.press(key),
  type: ({ page, text }) => pages[page].page.keyboard.type(text),
  wait: ({ page, selector, text }) => pages[page].page.locator(selector).filter({ hasText: text }).first().waitFor(),
  gone: ({ page, selector, text }) => pages[page].page.locator(selector).filter({ hasText: text }).first().waitFor({ state: "detached" }),
  texts: ({ page, selector }) => pages[page].page.locator(selector).allInnerTexts(),
  labels: ({ page, selector }) => pages[page].page.locator(selector).evaluateAll((all) => all.map((one) => one.getAttribute("aria-label"))),
  count: ({ page, role, name }) => found(page, role, name).count(),
  focus: ({ page }) => pages[page].page.evaluate(() => {
    const now = document.activeElement;
    return { tag: now.tagName.toLowerCase(), name: now.getAttribute("aria-label") ?? now.textContent.trim() };
  }),
  run: ({ page, source, given }) =>
    pages[page].page.evaluate(
      ([source, given]) => new (Object.getPrototypeOf(async () => {}).constructor)("given", source)(given),
      [source, given],
    ),
  /** How many pixels of the page are cut at its right side. */
  cut: ({ page }) => pages[page].page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
  async axe({ page }) {
    const { page: one } = pages[page];
    if (!(await one.evaluate(() => "axe" in globalThis))) await one.evaluate(AXE);
    const { violations } = await one.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary.slice(0, 200)}`).join(" | ")}`);
  },
  async troubles({ page }) {
    const { page: one, troubles } = pages[page];
    return [...troubles, ...(await one.evaluate(() => window.violations))];
  },
  picture: ({ page, path }) => pages[page].page.screenshot({ path, animations: "disabled" }).then(() => null),
  close: ({ page }) => pages[page].page.close(),
  leave: ({ person }) => contexts[person].close(),
};

const scope = (page, within) => (within ? pages[page].page.locator(within) : pages[page].page);
const found = (page, role, name, within) => scope(page, within).getByRole(role, { name, exact: true });

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...members } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[command](members)) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
