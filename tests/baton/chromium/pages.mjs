// Pages in Debian's Chromium that talk to a server on this machine. This program reads one command a line and answers each
// one with a line, both in JSON. Names under `.test` are this machine: pages of other sites. All others do not exist.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const options = {
  executablePath: process.env.CHROMIUM,
  // Chromium's own sandbox does not work for root. The only pages here are those of the test.
  args: [
    "--no-sandbox",
    "--disable-background-networking",
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    ...JSON.parse(process.env.CHROMIUM_ARGUMENTS),
  ],
};
const browser = await chromium.launch(options);
const contexts = [];
const pages = [];
const troubles = [];

// A violation of a Content-Security-Policy, or an error that no script catches, of any page.
async function watched(context) {
  await context.exposeBinding("batonTrouble", (_, what) => troubles.push(what));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => batonTrouble(`${event.violatedDirective} ${event.blockedURI}`));
  });
  context.on("weberror", (error) => troubles.push(String(error.error())));
  return context;
}
const sessions = [];

const commands = {
  // With a folder, the profile is on the disk, and can be copied.
  async person({ folder }) {
    const context = folder ? await chromium.launchPersistentContext(folder, options) : await browser.newContext();
    return contexts.push(await watched(context)) - 1;
  },
  async open({ person, url }) {
    const page = await contexts[person].newPage();
    await page.goto(url);
    return pages.push(page) - 1;
  },
  // The source is the body of an async function with the parameter `given`.
  run: ({ page, source, given }) =>
    pages[page].evaluate(
      ([source, given]) => new (Object.getPrototypeOf(async () => {}).constructor)("given", source)(given),
      [source, given],
    ),
  async leave({ page, source }) {
    const [answer] = await Promise.all([pages[page].waitForNavigation(), pages[page].evaluate(source)]);
    return { status: answer.status(), body: await answer.text() };
  },
  async go({ page, url }) {
    const answer = await pages[page].goto(url);
    return { status: answer.status(), body: await answer.text() };
  },
  // Wait for an element with this role and name, and return the text of the page. `click`: click the element.
  async find({ page, role, name, click }) {
    const found = pages[page].getByRole(role, { name });
    await found.waitFor();
    const text = await pages[page].locator("body").innerText();
    if (click) await found.click();
    return text;
  },
  async at({ page, url }) {
    await pages[page].waitForURL(url);
    return await pages[page].locator("body").innerText();
  },
  end: ({ page }) => pages[page].close(),
  troubles: () => troubles.splice(0),
  // As if their time were over.
  forget: ({ person, name }) => contexts[person].clearCookies({ name }),
  // Close without asking the page, as a tab that crashes.
  shut: ({ page }) => pages[page].close({ runBeforeUnload: false }),
  // The page stands still at its next step, as a tab that the browser suspends. It keeps its locks.
  async freeze({ page, on }) {
    const session = (sessions[page] ??= await pages[page].context().newCDPSession(pages[page]));
    await session.send("Debugger.enable");
    await session.send(on ? "Debugger.pause" : "Debugger.disable");
  },
  // As if they were copied from another machine.
  plant: ({ person, cookies }) => contexts[person].addCookies(cookies),
  cookies: ({ person }) => contexts[person].cookies(),
  close: ({ person }) => contexts[person].close(),
};

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
