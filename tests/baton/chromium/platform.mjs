// Platforms for passkeys: pages in Debian's Chromium, each with a virtual authenticator. This program reads one command
// a line and answers each one with a line, both in JSON. The pages lie at made-up origins: no request leaves the machine.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PAGE = "<!doctype html><title>Example</title>";
const HEADERS = { "content-security-policy": "default-src 'none'", "content-type": "text/html" };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  // Chromium's own sandbox does not work for root. The only page here is the one above.
  args: ["--no-sandbox", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"],
});
const platforms = [];

const commands = {
  async open({ origin, userVerification }) {
    const context = await browser.newContext();
    await context.route("**/*", (route) => route.fulfill({ status: 200, headers: HEADERS, body: PAGE }));
    const page = await context.newPage();
    await page.goto(origin);
    const devtools = await context.newCDPSession(page);
    await devtools.send("WebAuthn.enable");
    const options = {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: userVerification,
      isUserVerified: userVerification,
    };
    const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", { options });
    return platforms.push({ page, devtools, authenticatorId }) - 1;
  },
  close: ({ page }) => page.context().close(),
  create: ({ page, options }) =>
    page.evaluate(async (json) => {
      const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(json);
      return (await navigator.credentials.create({ publicKey })).toJSON();
    }, options),
  get: ({ page, options }) =>
    page.evaluate(async (json) => {
      const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(json);
      return (await navigator.credentials.get({ publicKey })).toJSON();
    }, options),
  unknown: ({ page, rpId, credentialId }) =>
    page.evaluate((unknown) => PublicKeyCredential.signalUnknownCredential(unknown), { rpId, credentialId }),
  accepted: ({ page, rpId, userId, allAcceptedCredentialIds }) =>
    page.evaluate((accepted) => PublicKeyCredential.signalAllAcceptedCredentials(accepted), {
      rpId,
      userId,
      allAcceptedCredentialIds,
    }),
  passkeys: async ({ devtools, authenticatorId }) =>
    (await devtools.send("WebAuthn.getCredentials", { authenticatorId })).credentials.map(({ rpId }) => ({ rpId })),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, platform, ...members } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[command]({ ...platforms[platform], ...members })) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
