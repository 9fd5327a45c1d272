// Has a real browser show a page with `useChat()` that asks the service at another port, and so at another origin.
// node browser.mjs <base URL> <directory for screenshots>
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect, createServer as createRelay } from "node:net";
import { join } from "node:path";
import chromium from "@sparticuz/chromium";
import { build } from "esbuild";
import { chromium as playwright } from "playwright-core";

const [base, screenshots] = process.argv.slice(2);
const here = import.meta.dirname;

const bundle = await build({
  entryPoints: [join(here, "page.jsx")],
  bundle: true,
  write: false,
  jsx: "automatic",
  format: "iife",
  define: { "process.env.NODE_ENV": '"production"' },
});
const style = "body{font:16px sans-serif;margin:2rem;max-width:40rem}article{padding:.2rem 1rem;margin:.5rem 0;border-radius:.5rem}.user{background:#e8eefc}.assistant{background:#f2f2f2}.tool{color:#555}footer{color:#777;margin-top:1rem}";
const html = `<!doctype html><meta charset="utf-8"><title>PluckIt</title><style>${style}</style><div id="root"></div><script>${bundle.outputFiles[0].text.replaceAll("</script", "<\\/script")}</script>`;
const listen = async server => {
  await new Promise(done => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${server.address().port}`;
};
const server = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end(html));
const origin = await listen(server);

/** Connections to the service, which can be cut. */
const open = new Set();
const { hostname, port } = new URL(base);
const relay = createRelay(near => {
  const far = connect(port, hostname);
  for (const socket of [near, far]) {
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      open.delete(socket);
      (socket === near ? far : near).destroy();
    });
  }
  near.pipe(far).pipe(near);
});
const api = encodeURIComponent(`${await listen(relay)}/api/chat`);

// With web security, which the package turns off.
const args = chromium.args.filter(flag => flag !== "--disable-web-security");
let failed = 0;

async function on(name, script) {
  // One process has it all, and ends with its page.
  const browser = await playwright.launch({ args, executablePath: await chromium.executablePath(), headless: true });
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  const faults = [];
  page.on("pageerror", error => faults.push(error.message));
  try {
    await page.goto(`${origin}/?api=${api}&chat=chat-${crypto.randomUUID()}`);
    await script(page);
    assert.deepEqual(faults, []);
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}\n${error.stack}\n${faults.join("\n")}\n${await page.locator("body").innerText()}`);
  }
  await page.screenshot({ path: join(screenshots, `${name.replaceAll(" ", "-")}.png`) });
  await browser.close();
}

const say = async (page, text) => {
  await page.locator("input").fill(text);
  await page.locator("#send").click();
};
const answer = page => page.locator("article.assistant").last();
const isReady = page => page.locator("#status", { hasText: /^ready$/ }).waitFor();
const numbers = Array.from({ length: 40 }, (_, n) => n).join(" ");

await on("send with tools", async page => {
  await say(page, "tools please");
  await answer(page).getByText("Wear the navy shirt.").waitFor();
  await page.getByText("get_wardrobe_summary: output-available").waitFor();
  await isReady(page);
});

await on("reload in the middle of an answer", async page => {
  await say(page, "long please");
  await answer(page).getByText("2 3 4").waitFor();
  await page.reload();
  await answer(page).getByText("2 3 4").waitFor();
  await page.screenshot({ path: join(screenshots, "after-the-reload.png") });
  await answer(page).getByText("38 39").waitFor();
  await isReady(page);
  assert.equal((await answer(page).innerText()).trim(), numbers);
  assert.equal(await page.locator("article").count(), 2);
});

await on("resume after a cut", async page => {
  await say(page, "long please");
  await answer(page).getByText("2 3 4").waitFor();
  for (const socket of open) socket.destroy();
  await page.locator("#status", { hasText: "error" }).waitFor();
  await page.locator("#resume").click();
  await isReady(page);
  assert.equal((await answer(page).innerText()).trim(), numbers);
});

await on("stop", async page => {
  await say(page, "endless please");
  await answer(page).getByText("0 1 2").waitFor();
  await page.locator("#stop").click();
  await isReady(page);
  const said = await answer(page).innerText();
  await page.waitForTimeout(300);
  assert.equal(await answer(page).innerText(), said);
});

await on("regenerate", async page => {
  await say(page, "short please");
  await answer(page).getByText("Hello.").waitFor();
  await isReady(page);
  await page.waitForTimeout(300);
  await page.locator("#regenerate").click();
  await page.locator("#status", { hasText: /streaming|submitted/ }).waitFor().catch(() => {});
  await isReady(page);
  assert.equal(await page.locator("article").count(), 2);
  await answer(page).getByText("Hello.").waitFor();
});

server.close();
process.exit(failed ? 1 : 0);
