// Uses the console of a started binary as people do, in a real browser: journeys, accessibility, themes, phone width.
//
// usage: [ONLY=WORD,WORD] node console.mjs BINARY [SCREENSHOTS]
//
// ONLY runs the journeys whose names contain one of these words, and looks at no page.
//
// Fails on a fault of a journey, an error in the browser's console, a request to another host, a page that is wider than the
// phone, and what axe-core calls serious. The browser is the Chromium of @sparticuz/chromium, which needs no system package.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";

import sparticuz from "@sparticuz/chromium";
import { chromium } from "playwright-core";

const [binary, screenshots] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const photographs = join(import.meta.dirname, "../../demo/photographs");
// The background-removal network, if scripts/fetch-models was here.
const model = join(import.meta.dirname, "../../models/u2netp.onnx");
const faults = [];
const fault = (where, text) => faults.push(`${where}: ${text}`);

function expect(holds, text) {
  if (!holds) throw new Error(text);
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

async function start() {
  const port = await freePort();
  const data = await mkdtemp(join(tmpdir(), "pluckit-console-"));
  const nowhere = { REDDIT_BASE_URL: "http://127.0.0.1:9", JOB_RETRY_BASE_SECONDS: "1", OPEN_METEO_GEOCODING_URL: "http://127.0.0.1:9", OPEN_METEO_FORECAST_URL: "http://127.0.0.1:9" };
  const service = spawn(binary, ["--port", String(port), "--data-dir", data], {
    env: { PATH: process.env.PATH, PLUCKIT_ALLOW_INSECURE_DEV: "1", ADMIN_USER_IDS: "local-dev-user", RATE_LIMITS: "false", OFFLINE_TOKENS_PER_SECOND: "200", CUTOUT_MODEL: existsSync(model) ? model : "off", ...nowhere },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const base = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    if (await fetch(`${base}/api/health`).then((answer) => answer.ok, () => false)) break;
    expect(tries < 150 && service.exitCode === null, "the service does not start");
    await pause(200);
  }
  // Tried five times until it fails, since Reddit cannot be reached: a journey restarts it.
  await fetch(`${base}/api/scraper/run/reddit-malefashionadvice`, { method: "POST", headers: { Prefer: "respond-async", "Content-Type": "application/json" }, body: "{}" });
  const stop = async () => {
    service.kill("SIGTERM");
    await once(service, "exit");
    await rm(data, { recursive: true, force: true });
  };
  return { base, stop };
}

/** Opens a page of the console and waits until it is drawn. */
async function open(page, name) {
  await page.evaluate((name) => { location.hash = `#/${name}`; }, name);
  await page.waitForFunction((name) => document.querySelector("main").dataset.page === name && !document.querySelector("main .loading"), name);
}

async function answered(page) {
  // A machine that draws in software, and builds at the same time, is slow with pictures.
  await page.locator(".said.stylist").last().and(page.locator("[aria-busy=false]")).waitFor({ timeout: 60_000 });
  return page.locator(".said.stylist").last().innerText();
}

/** Notes how long each step of a walk takes, as docs/first-five-minutes.md tells them. */
function stopwatch() {
  let last = performance.now();
  return (step) => {
    const now = performance.now();
    console.log(`       ${step}: ${Math.round(now - last)} ms`);
    last = now;
  };
}

const journeys = {
  async "the first five minutes"(page) {
    const lap = stopwatch();
    await page.reload();
    await page.getByText("What shall we put on?").waitFor();
    lap("open /");
    await page.getByRole("textbox", { name: "Message" }).fill("What should I wear to a casual dinner?");
    await page.keyboard.press("Enter");
    await page.locator(".said.stylist .text p").first().waitFor();
    lap("ask: first words");
    expect(/Shoes: your/.test(await answered(page)), "no outfit");
    await page.locator(".looks img").first().evaluate((image) => image.decode());
    lap("ask: whole answer, with pictures");
    await open(page, "wardrobe");
    await page.locator(".piece").nth(48).waitFor();
    lap("see the wardrobe");
    // One has a photo, the other one has no date.
    for (const drafts of [2, 1]) {
      await page.waitForFunction((drafts) => document.querySelectorAll(".draft").length === drafts, drafts);
      await page.getByRole("button", { name: "Dismiss" }).first().click();
    }
    await page.locator(".draft").waitFor({ state: "detached" });
    await page.getByLabel("Photos", { exact: true }).setInputFiles(join(photographs, "roll-neck-on-bed-linen.jpg"));
    await page.getByRole("button", { name: "Review" }).click({ timeout: 60_000 });
    lap("add a photo: cut out, ready to review");
    const box = page.getByRole("dialog");
    await box.getByLabel("Category").selectOption("Knitwear");
    await box.getByLabel("Brand").fill("Firsts");
    await box.getByLabel("Tags").fill("sweater");
    await box.getByLabel("Price").fill("90");
    await box.getByLabel("Currency").fill("EUR");
    await shot(page, "first-review");
    await box.getByRole("button", { name: "Add to wardrobe" }).click();
    await box.waitFor({ state: "detached" });
    await page.getByText("50 pieces").waitFor();
    lap("fill in and accept");
    await page.getByRole("button", { name: /\+1 wear of .*Firsts sweater/ }).click();
    await page.getByText(/^Worn: .*Firsts sweater/).waitFor();
    await shot(page, "first-worn");
    lap("wear it");
    await open(page, "insights");
    const bar = page.locator("section.card", { hasText: "Highest cost per wear" }).locator("svg");
    expect(/Firsts swe[^€]*€90/.test(await bar.textContent()), "the new piece is not in the insights");
    await shot(page, "first-insights");
    lap("see it in the insights");
    await open(page, "jobs");
    await page.getByLabel("State").selectOption("Failed");
    await page.locator("tbody tr").filter({ hasText: "digest.run" }).filter({ hasText: "Failed" }).getByRole("button", { name: "Open" }).click();
    await box.getByText("The model server could not be reached.").first().waitFor();
    await shot(page, "first-failed");
    lap("find the job that failed, and why");
    await box.getByRole("button", { name: "Restart" }).click();
    await box.waitFor({ state: "detached" });
    await page.getByLabel("State").selectOption("Completed");
    const done = page.locator("tbody tr").filter({ hasText: "digest.run" }).filter({ hasText: "Completed" });
    for (let tries = 0; tries < 60 && (await done.count()) < 2; tries++) {
      await pause(250);
      await page.getByRole("button", { name: "Reload" }).click();
      await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
    }
    expect((await done.count()) === 2, "the restarted job is not done");
    lap("restart it, and see it done");
  },
  async "ask the stylist, by keyboard alone"(page) {
    await open(page, "stylist");
    await page.getByRole("textbox", { name: "Message" }).focus();
    await page.keyboard.type("What should I wear to dinner?");
    await page.keyboard.press("Enter");
    const text = await answered(page);
    expect(/Shoes: your/.test(text), `no outfit: ${text}`);
    if (await has(page, "/api/wardrobe")) expect(await page.locator(".looks img").count() > 2, "no pictures of the pieces");
    await page.keyboard.type("not those shoes");
    await page.keyboard.press("Enter");
    expect(/as before/.test(await answered(page)), "the conversation does not go on");
  },
  async "plan for the day of the user, wherever they are"(page) {
    // The first and the last place where a day begins: at any time they have different dates.
    for (const [timezoneId, offset] of [["Pacific/Kiritimati", "+14:00"], ["Etc/GMT+12", "-12:00"], ["Asia/Kolkata", "+05:30"]]) {
      const context = await page.context().browser().newContext({ timezoneId });
      try {
        const other = await context.newPage();
        await other.goto(base);
        await other.getByRole("textbox", { name: "Message" }).fill("Plan outfits for 2 days");
        const [request] = await Promise.all([other.waitForRequest("**/api/chat"), other.keyboard.press("Enter")]);
        expect((await request.allHeaders())["x-utc-offset"] === offset, `no offset ${offset}`);
        const day = new Date().toLocaleDateString("en-GB", { timeZone: timezoneId, weekday: "long", day: "numeric", month: "long" });
        const text = await answered(other);
        expect(text.includes(`${day}:`), `not for ${day}: ${text}`);
      } finally {
        await context.close();
      }
    }
  },
  async "stop an answer"(page) {
    await open(page, "stylist");
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByRole("textbox", { name: "Message" }).fill("Pack for 14 days in Lisbon");
    await page.keyboard.press("Enter");
    await page.locator(".said.stylist .text p").first().waitFor();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("Stopped.").waitFor();
    await page.getByRole("button", { name: "Send" }).waitFor();
  },
  async "rejoin an answer after a reload"(page) {
    if (!(await page.evaluate(async () => Object.keys((await (await fetch("/api/openapi.json")).json()).paths).some((path) => /chat\/runs\/.*events/.test(path))))) return;
    await open(page, "stylist");
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByRole("textbox", { name: "Message" }).fill("Pack for 14 days in Lisbon");
    await page.keyboard.press("Enter");
    await page.locator(".said.stylist .text p").first().waitFor();
    await page.reload();
    expect(/Add underwear and socks for 14 days/.test(await answered(page)), "the answer is not whole after a reload");
    expect(!/Stopped/.test(await answered(page)), "the answer stopped");
  },
  async "rejoin an answer whose connection was lost"(page) {
    let asked = 0;
    const stream = (text, headers) => (route) => {
      asked += 1;
      // At first the service is not there yet.
      return asked === 2 ? route.abort("connectionrefused") : route.fulfill({ headers, contentType: "text/event-stream", body: text });
    };
    const answers = {
      "**/api/chat": stream('data: {"type":"token","content":"Your navy"}\n\n', { "X-Run-Id": "a-run" }),
      "**/api/chat/runs/a-run/events*": stream('data: {"type":"token","content":"Your navy shirt."}\n\ndata: {"type":"done"}\n\n'),
    };
    await aside(page, async (page) => {
      await page.getByRole("textbox", { name: "Message" }).fill("What goes?");
      await page.keyboard.press("Enter");
      await page.locator(".said.stylist").getByText("Your navy shirt.", { exact: true }).waitFor();
      expect(asked === 3, `it is asked ${asked} times`);
    }, answers);
  },
  async "find, wear, edit and delete a piece"(page) {
    if (!(await has(page, "/api/wardrobe"))) return;
    await open(page, "wardrobe");
    await page.getByRole("searchbox").fill("camel coat");
    await page.getByText("1 piece", { exact: true }).waitFor();
    const before = Number((await page.locator(".piece .foot").innerText()).match(/worn (\d+)/)[1]);
    await page.getByRole("button", { name: /\+1 wear/ }).click();
    await page.getByText(`worn ${before + 1}×`).waitFor();
    await page.locator(".piece .open").click();
    const box = page.getByRole("dialog");
    await box.getByLabel("Notes").fill("For the first frost.");
    await box.getByRole("button", { name: "Save" }).click();
    await box.waitFor({ state: "detached" });
    await page.reload();
    await open(page, "wardrobe");
    await page.getByRole("searchbox").fill("first frost");
    await page.locator(".piece .open").click();
    expect(await box.getByLabel("Notes").inputValue() === "For the first frost.", "the edit is gone");
    await box.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog", { name: /Delete/ }).getByRole("button", { name: "Delete" }).click();
    await page.getByText("0 pieces").waitFor();
  },
  async "add a piece by photo"(page) {
    if (!(await has(page, "/api/wardrobe/upload"))) return;
    await open(page, "wardrobe");
    await page.getByLabel("Photos", { exact: true }).setInputFiles(join(photographs, "oxford-shirt-on-a-wall.jpg"));
    await page.getByRole("button", { name: "Review" }).click({ timeout: 60_000 });
    const box = page.getByRole("dialog");
    await box.getByLabel("Category").selectOption("Tops");
    await box.getByLabel("Brand").fill("Console & Sons");
    await box.getByRole("button", { name: "Add to wardrobe" }).click();
    await box.waitFor({ state: "detached" });
    await page.getByRole("searchbox").fill("console sons");
    await page.getByText("1 piece", { exact: true }).waitFor();
  },
  async "choose how a photo is cut out, in review and later"(page) {
    if (!(await has(page, "/api/wardrobe/{id}/cutout"))) return;
    await open(page, "wardrobe");
    await page.getByLabel("Photos", { exact: true }).setInputFiles(join(photographs, "jeans-on-a-rug.jpg"));
    await page.getByRole("button", { name: "Review" }).click({ timeout: 60_000 });
    const box = page.getByRole("dialog");
    const cut = box.getByLabel("Background");
    const choose = async (mode) => {
      const before = await box.locator("img.picture").getAttribute("src");
      await cut.selectOption(mode);
      await page.waitForFunction((before) => {
        const image = document.querySelector("dialog img.picture");
        return image && image.getAttribute("src") !== before && image.complete && image.naturalWidth > 0 && !document.querySelector("dialog .cutout [aria-busy]");
      }, before, { timeout: 60_000 });
      return seeThrough(page);
    };
    await cut.waitFor();
    const withNetwork = existsSync(model);
    expect((await cut.locator("option").count()) === (withNetwork ? 4 : 3), "the modes are not those of the service");
    await shot(page, "cutout-review");
    expect((await choose("none")) === 0, "a whole photo has no background");
    await shot(page, "cutout-whole");
    if (withNetwork) {
      const share = await choose("network");
      expect(share > 0.3 && share < 0.9, `the network cut out ${share}`);
      await box.getByText("Cut out by the network").waitFor();
      await shot(page, "cutout-network");
    }
    await box.getByLabel("Category").selectOption("Bottoms");
    await box.getByLabel("Brand").fill("Rug & Co");
    await box.getByRole("button", { name: "Add to wardrobe" }).click();
    await box.waitFor({ state: "detached" });
    await page.getByRole("searchbox").fill("rug co");
    await page.locator(".piece .open").click();
    await cut.waitFor();
    expect((await cut.inputValue()) === (withNetwork ? "network" : "none"), "the piece does not say how it was cut out");
    await choose("plain");
    expect((await choose("none")) === 0, "the piece is not whole");
    await shot(page, "cutout-piece");
    await page.keyboard.press("Escape");
    await page.reload();
    await open(page, "wardrobe");
    await page.getByRole("searchbox").fill("rug co");
    await page.locator(".piece img.picture").first().evaluate((image) => image.decode());
  },
  async "send a photo by curl, accept it here and ask about it"(page) {
    if (!(await has(page, "/api/wardrobe/upload"))) return;
    await promisify(execFile)("curl", ["--fail", "--silent", `${base}/api/wardrobe/upload`, "-F", `image=@${join(photographs, "crossbody-bag-on-concrete.jpg")}`]);
    await page.reload();
    await open(page, "wardrobe");
    await page.getByRole("button", { name: "Review" }).click({ timeout: 60_000 });
    const box = page.getByRole("dialog");
    await box.getByLabel("Brand").fill("Curlew");
    await box.getByLabel("Category").selectOption("Accessories");
    await box.getByLabel("Tags").fill("crossbody, bag");
    await box.locator("img.picture").evaluate((image) => image.decode());
    await shot(page, "curl-review");
    await box.getByRole("button", { name: "Add to wardrobe" }).click();
    await box.waitFor({ state: "detached" });
    await page.getByRole("searchbox").fill("curlew");
    await page.getByText("1 piece", { exact: true }).waitFor();
    await page.locator(".piece img.picture").first().evaluate((image) => image.decode());
    await shot(page, "curl-wardrobe");
    await open(page, "stylist");
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByRole("textbox", { name: "Message" }).fill("What goes with my Curlew bag?");
    await page.keyboard.press("Enter");
    const text = await answered(page);
    expect(/Curlew/.test(text), `the stylist does not know the bag: ${text}`);
    await page.locator(".looks img").first().evaluate((image) => image.decode());
    await shot(page, "curl-asked");
  },
  async "export the wardrobe"(page) {
    if (!(await has(page, "/api/wardrobe"))) return;
    await open(page, "wardrobe");
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
    expect(JSON.parse(await readFile(await file.path(), "utf8")).items.length > 40, "the file has no pieces");
  },
  async "export more than two thousand pieces"(page) {
    if (!(await has(page, "/api/wardrobe"))) return;
    const answer = (route) => {
      const first = Number(new URL(route.request().url()).searchParams.get("continuationToken") ?? 0);
      const items = Array.from({ length: 100 }, (_, place) => ({ id: `many-${first + place}`, category: "Tops", tags: [], colours: [], wearCount: 0, wearEvents: [], isWishlisted: false }));
      return route.fulfill({ json: { items, ...(first < 2400 && { nextContinuationToken: String(first + 100) }) } });
    };
    await aside(page, async (page) => {
      await open(page, "wardrobe");
      await page.getByText("2500 pieces").waitFor();
      const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
      expect(JSON.parse(await readFile(await file.path(), "utf8")).items.length === 2500, "pieces are left out");
    }, { "**/api/wardrobe?*": answer });
  },
  async "import what the command line exported, past the limit of requests"(page) {
    if (!(await has(page, "/api/wardrobe"))) return;
    const piece = (number, category) => ({ id: `imported-${number}`, userId: "local-dev-user", brand: "Importer", category, tags: ["shirt"] });
    const wear = (number) => ({ id: `wear-${number}`, userId: "local-dev-user", itemId: "imported-1", occurredAt: "2026-01-01T00:00:00Z" });
    const draft = { ...piece(4, "Tops"), draftStatus: "Ready" };
    const rows = [{ id: "local-dev-user", userId: "local-dev-user", currencyCode: "EUR" }, piece(1, "Tops"), piece(2, "tops"), piece(3, "Tops"), wear(1), wear(2), draft, { category: "Tops", price: { amount: "12,50" } }];
    const file = (name, text) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.from(text) });
    await aside(page, async (page) => {
      let refusals = 2;
      await page.route("**/api/wardrobe", (route) => (route.request().method() === "POST" && refusals-- > 0 ? route.fulfill({ status: 429, headers: { "Retry-After": "1" }, json: { detail: "Too many requests." } }) : route.continue()));
      await open(page, "wardrobe");
      const input = page.getByLabel("Wardrobe file");
      await input.setInputFiles(file("wardrobe.csv", "id,category\nshirt,Tops\n"));
      await page.getByText("Import reads JSON").waitFor();
      await input.setInputFiles(file("wears.json", JSON.stringify([wear(1)])));
      await page.getByText("There are no pieces in this file.").waitFor();
      for (const [name, text, result] of [["wardrobe.json", JSON.stringify(rows), "3 imported, 0 already there, 1 refused."], ["wardrobe.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"), "0 imported, 3 already there, 1 refused."]]) {
        await input.setInputFiles(file(name, text));
        await page.getByRole("dialog", { name: "Import these pieces?" }).getByRole("button", { name: "Import" }).click();
        const box = page.getByRole("dialog", { name: "Imported" });
        await box.getByText(result).waitFor();
        await box.getByText("2 wear events, 1 draft, and 1 entry that is not a piece").waitFor();
        await box.getByText("Row 8 (Tops): ").waitFor();
        await page.keyboard.press("Escape");
      }
      await page.getByRole("searchbox").fill("importer");
      await page.getByText("3 pieces", { exact: true }).waitFor();
      const categories = page.getByLabel("Category");
      const names = await categories.locator("option").allTextContents();
      expect(new Set(names.map((name) => name.toLowerCase())).size === names.length, `categories come twice: ${names}`);
      await categories.selectOption("tops");
      await page.getByText("3 pieces", { exact: true }).waitFor();
      for (const { id } of [1, 2, 3].map((number) => piece(number))) await page.evaluate((id) => fetch(`/api/wardrobe/${id}`, { method: "DELETE" }), id);
    });
  },
  async "sign in with a token that is not valid"(page) {
    await aside(page, async (page) => {
      // In development the service accepts any token.
      await page.route("**/api/jobs", (route) => (route.request().headers().authorization ? route.fulfill({ status: 401, json: { detail: "Invalid token." } }) : route.continue()));
      await page.evaluate(() => sessionStorage.setItem("pluckit_token", "at-nothing"));
      await page.reload();
      for (let tries = 0; tries < 2; tries++) {
        await page.getByText("The token is not valid or has expired.").waitFor();
        await page.getByLabel("Access token").fill("at-nothing-either");
        await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Sign in" }).click()]);
      }
      await page.getByText("The token is not valid or has expired.").waitFor();
    });
  },
  async "sign out, and sign in as somebody else"(page) {
    // In development every token is the same user's, so the answers are made here.
    const sent = [];
    let isExpired = false;
    const by = (route) => (route.request().headers().authorization ?? "").replace("Bearer ", "");
    const answers = {
      "**/api/wardrobe?*": (route) => route.fulfill({ json: { items: by(route) === "ada" ? [{ id: "ada-1", brand: "Secret", category: "Tops", tags: ["shirt"], colours: [], wearCount: 0, wearEvents: [], isWishlisted: false }] : [] } }),
      "**/api/wardrobe/drafts": (route) => (isExpired ? route.fulfill({ status: 401, json: { detail: "Invalid token." } }) : route.fulfill({ json: { items: [] } })),
      "**/api/chat": (route) => {
        sent.push(route.request().postDataJSON());
        return route.fulfill({ contentType: "text/event-stream", body: 'data: {"type":"token","content":"Wear your Secret shirt."}\n\ndata: {"type":"done"}\n\n' });
      },
    };
    const keys = (page) => page.evaluate(() => JSON.stringify(Object.keys(sessionStorage)));
    const signIn = async (page, token) => {
      await page.getByLabel("Access token").fill(token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.locator("nav a").first().waitFor();
    };
    const ask = async (page, text) => {
      await open(page, "stylist");
      await page.getByRole("textbox", { name: "Message" }).fill(text);
      await page.keyboard.press("Enter");
      await answered(page);
    };
    await aside(page, async (page) => {
      await page.evaluate(() => sessionStorage.setItem("pluckit_token", "ada"));
      await page.reload();
      await open(page, "wardrobe");
      await page.getByText("1 piece", { exact: true }).waitFor();
      await ask(page, "My secret is a funeral.");
      await page.locator(".looks li").waitFor();
      await aside(page, async (twin) => {
        await twin.evaluate(() => sessionStorage.setItem("pluckit_token", "ada"));
        await twin.reload();
        await twin.locator("nav a").first().waitFor();
        await page.getByRole("button", { name: "Sign out" }).click();
        await page.getByText("You are signed out.").waitFor();
        await twin.getByText("You are signed out.").waitFor();
      }, answers);
      expect((await keys(page)) === "[]", `the tab keeps ${await keys(page)}`);
      await page.goBack();
      expect(!/Secret|secret/.test(await page.locator("body").innerText()), "Back shows the pieces of the user who left");
      if (!(await page.getByLabel("Access token").count())) await page.goForward();
      await signIn(page, "bob");
      await open(page, "wardrobe");
      await page.getByText("Your wardrobe is empty").waitFor();
      await open(page, "stylist");
      expect(!(await page.locator(".said").count()), "the conversation of the user before is shown");
      // A page that the browser kept, with somebody else signed in since, is loaded again.
      await Promise.all([page.waitForEvent("load"), page.evaluate(() => {
        sessionStorage.setItem("pluckit_token", "carol");
        dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
      })]);
      await ask(page, "another one");
      expect(sent.length === 2 && !sent[1].recentMessages.length, "the conversation of the user before is sent");
      isExpired = true;
      await page.evaluate(() => { location.hash = "#/wardrobe"; });
      await page.getByText("Please sign in again.").waitFor();
      expect((await keys(page)) === "[]", `after the end of a sign-in the tab keeps ${await keys(page)}`);
    }, answers);
  },
  async "sign out of a session, with and without the service"(page) {
    const asked = [];
    let isDown = false;
    const revoke = (route) => {
      asked.push([route.request().headers().authorization, route.request().postDataJSON()]);
      return isDown ? route.abort("connectionrefused") : route.fulfill({ json: { revoked: true } });
    };
    const signOut = (page, token, text) => aside(page, async (page) => {
      await page.evaluate((token) => sessionStorage.setItem("pluckit_token", token), token);
      await page.reload();
      await page.locator("nav a").first().waitFor();
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByText(text, { exact: true }).waitFor();
      expect((await page.evaluate(() => sessionStorage.length)) === 0, "the tab keeps the token");
    }, { "**/api/auth/revoke": revoke });
    await signOut(page, "at-YWTDpA.secret", "You are signed out.");
    expect(JSON.stringify(asked) === JSON.stringify([["Bearer at-YWTDpA.secret", { user_id: "ad\u00e4" }]]), `asked: ${JSON.stringify(asked)}`);
    isDown = true;
    await signOut(page, "at-YWTDpA.secret", "You are signed out. Your other sessions could not be ended.");
    // Tokens of Google and of programs have no session.
    await signOut(page, "pat-YWTDpA.secret", "You are signed out.");
    expect(asked.length === 2, `asked: ${JSON.stringify(asked)}`);
  },
  async "find what another tab changed, in a piece, the profile and the memory"(page) {
    if (!(await has(page, "/api/wardrobe"))) return;
    const stored = (page, path) => page.evaluate(async (path) => (await fetch(path)).json(), path);
    const put = (page, path, value) => page.evaluate(([path, value]) => fetch(path, { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) }), [path, value]);
    await aside(page, async (page) => {
      const path = "/api/wardrobe/demo-black-heavyweight-tee";
      await open(page, "wardrobe");
      await page.getByRole("searchbox").fill("asket tee black");
      await page.locator(".piece .open").click();
      const box = page.getByRole("dialog");
      const piece = await stored(page, path);
      await put(page, path, { ...piece, brand: "Elsewhere" });
      await box.getByLabel("Notes").fill("From here.");
      await box.getByRole("button", { name: "Log a wear" }).click();
      await box.getByText(`Worn ${piece.wearCount + 1} times`).waitFor();
      await box.getByRole("button", { name: "Save" }).click();
      await box.getByRole("alert").getByText("Changed elsewhere since you opened this: brand.").waitFor();
      await shot(page, "changed-elsewhere");
      await box.getByRole("button", { name: "Reload" }).click();
      expect((await box.getByLabel("Brand").inputValue()) === "Elsewhere", "the change of the other tab is not shown");
      await box.getByRole("button", { name: "Save" }).click();
      await box.waitFor({ state: "detached" });
      const { brand, notes } = await stored(page, path);
      expect(brand === "Elsewhere" && notes === "From here.", `saved: ${brand}, ${notes}`);
      await page.getByRole("searchbox").fill("elsewhere");
      await page.getByText(`worn ${piece.wearCount + 1}×`).waitFor();

      const profile = await stored(page, "/api/profile");
      await open(page, "profile");
      await put(page, "/api/profile", { ...profile, favoriteBrands: ["Elsewhere"] });
      await page.getByLabel("City").fill("Porto");
      await page.getByRole("button", { name: "Save profile" }).click();
      await page.getByText("Changed elsewhere since you opened this: brands.").waitFor();
      await page.getByRole("button", { name: "Reload" }).click();
      await page.getByRole("button", { name: "Save profile" }).click();
      await page.getByText("Profile saved.").waitFor();
      const { locationCity, favoriteBrands } = await stored(page, "/api/profile");
      expect(locationCity === "Porto" && favoriteBrands[0] === "Elsewhere", `saved: ${locationCity}, ${favoriteBrands}`);
      await put(page, "/api/profile", profile);

      const memory = await stored(page, "/api/chat/memory");
      await put(page, "/api/chat/memory", { ...memory, preferences: [...memory.preferences, { text: "from elsewhere", kind: "fact" }] });
      await page.getByRole("button", { name: "Save memory" }).click();
      await page.getByText("Changed elsewhere since you opened this: what the stylist remembers.").waitFor();
      await page.getByRole("button", { name: "Reload" }).click();
      await page.waitForFunction(() => [...document.querySelectorAll("[aria-label=Preference]")].at(-1)?.value === "from elsewhere");
      await put(page, "/api/chat/memory", memory);
    });
  },
  async "open a page that was not loaded during an outage"(page) {
    await aside(page, async (page) => {
      await open(page, "wardrobe");
      const down = (route) => route.abort("connectionrefused");
      for (const pattern of ["**/console/profile.js", "**/api/health"]) await page.route(pattern, down);
      await open(page, "profile");
      await page.locator(".empty").getByText("The service cannot be reached.").waitFor();
      await page.getByRole("button", { name: "Try again" }).click();
      await page.locator(".toast").getByText("The service cannot be reached.").waitFor();
      await page.unrouteAll();
      await page.getByRole("button", { name: "Try again" }).click();
      await page.getByText("What the stylist remembers").waitFor();
    });
  },
  async "go back from a piece"(page) {
    if (!(await has(page, "/api/wardrobe"))) return;
    await aside(page, async (page) => {
      const at = (hash) => page.waitForFunction((hash) => location.hash === hash, hash);
      await open(page, "insights");
      await page.getByText(/^worn most in 90 days: .* of wears$/).waitFor();
      await open(page, "wardrobe");
      await page.getByRole("searchbox").fill("shirt");
      await page.getByLabel("Category").selectOption("tops");
      const found = await page.locator(".count").innerText();
      await page.locator(".piece .open").first().click();
      const box = page.getByRole("dialog");
      await box.waitFor();
      await page.goBack();
      await box.waitFor({ state: "detached" });
      expect(page.url().endsWith("#/wardrobe"), "Back leaves the page");
      // A dialog that was closed otherwise costs no second step.
      await page.locator(".piece .open").first().click();
      await box.waitFor();
      await page.keyboard.press("Escape");
      await box.waitFor({ state: "detached" });
      await page.goBack();
      await at("#/insights");
      await page.goForward();
      await at("#/wardrobe");
      await page.locator(".piece .open").first().waitFor();
      expect((await page.locator(".count").innerText()) === found && (await page.getByRole("searchbox").inputValue()) === "shirt", "what was searched for is gone");
      await page.locator(".piece .open").first().click();
      await box.waitFor();
      await open(page, "insights");
      expect(!(await box.count()), "a piece covers another page");
    });
  },
  async "wear a piece far down a long list, and compare prices"(page) {
    if (!(await has(page, "/api/wardrobe"))) return;
    const prices = [[100, "EUR"], [50, "EUR"], [120, "ILS"], [70, "EUR"]].map(([amount, originalCurrency]) => ({ amount, originalCurrency }));
    const piece = (number) => ({ id: `many-${number}`, name: `B${number} top`, brand: `B${number}`, category: "Tops", tags: [], colours: [], wearCount: 0, wearEvents: [], isWishlisted: false, ...(prices[number] && { price: prices[number] }) });
    const answers = {
      "**/api/wardrobe?*": (route) => route.fulfill({ json: { items: Array.from({ length: 300 }, (_, number) => piece(number)) } }),
      "**/api/wardrobe/*/wear": (route) => route.fulfill({ json: { ...piece(250), wearCount: 1 } }),
    };
    await aside(page, async (page) => {
      await open(page, "wardrobe");
      await page.getByRole("button", { name: "Show 180 more" }).click();
      await page.getByRole("button", { name: "+1 wear of B250 top" }).click();
      const worn = page.locator(".piece").nth(250);
      await worn.getByText("worn 1×").waitFor();
      expect((await page.locator(".piece").count()) === 300, "the list is folded up");
      const top = await page.evaluate(() => scrollY);
      expect(top > 1000, "the piece is gone from sight");
      await open(page, "profile");
      await page.goBack();
      await worn.getByText("worn 1×").waitFor();
      await page.waitForFunction((top) => Math.abs(scrollY - top) < 50, top);
      await page.getByLabel("Order").selectOption("dear");
      await page.getByText("300 pieces, each currency by itself").waitFor();
      const first = (await page.locator(".piece .name").allInnerTexts()).slice(0, 4).join(", ");
      expect(first === "B0 top, B3 top, B1 top, B2 top", `the order of prices is ${first}`);
    }, answers);
  },
  async "read long names on a phone"(page) {
    if (!(await has(page, "/api/wardrobe"))) return;
    const long = "Donaudampfschifffahrtsgesellschaft".repeat(6);
    const answers = {
      "**/api/wardrobe?*": async (route) => {
        const { items, ...rest } = await (await route.fetch()).json();
        const bare = { ...items[0], id: "bare", name: "👗💃 top", brand: "👗💃", imageUrl: null, colours: [], isWishlisted: false };
        await route.fulfill({ json: { ...rest, items: [bare, ...items.map((item) => ({ ...item, name: long, brand: long, category: long, colours: item.colours.map((colour) => ({ ...colour, name: long })) }))] } });
      },
      "**/api/wardrobe/drafts": (route) => route.fulfill({ json: { items: [draft] } }),
      "**/api/wardrobe/a-draft": (route) => route.fulfill({ headers: { ETag: '"1"' }, json: draft }),
      "**/api/wardrobe/a-draft/pictures": (route) => route.fulfill({ json: {} }),
    };
    const draft = { id: "a-draft", name: long, brand: long, tags: [], colours: ["brown", "brown", "beige"].map((name, place) => ({ name, hex: `#80402${place}` })), wearCount: 0, wearEvents: [], isWishlisted: false, draftStatus: "Ready" };
    await aside(page, async (page) => {
      // As over plain HTTP from another machine.
      await page.addInitScript(() => delete Crypto.prototype.randomUUID);
      await page.setViewportSize({ width: 390, height: 844 });
      await page.reload();
      const wide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      for (const name of ["stylist", "wardrobe", "insights"]) {
        await open(page, name);
        expect((await wide()) <= 0, `${name} is ${await wide()} pixels too wide`);
        await shot(page, `long-${name}`);
      }
      await open(page, "wardrobe");
      const initial = await page.locator(".picture.blank").filter({ hasNotText: "…" }).first().innerText();
      expect(initial === "👗", `the initial is ${initial}`);
      await page.getByRole("button", { name: "Review" }).click();
      const box = page.getByRole("dialog");
      expect((await box.getByLabel("Colours").inputValue()) === "brown, beige", "a colour comes twice");
      await box.getByRole("button", { name: "Add to wardrobe" }).click();
      const hidden = await box.evaluate((box) => box.querySelector("header").getBoundingClientRect().bottom - box.querySelector("select:invalid").parentElement.getBoundingClientRect().top);
      await shot(page, "long-review");
      expect(hidden <= 0, `the title covers ${hidden} pixels of the field that is missing`);
    }, answers);
  },
  async "send photos that cannot be taken"(page) {
    if (!(await has(page, "/api/wardrobe/upload"))) return;
    await aside(page, async (page) => {
      await open(page, "wardrobe");
      const file = (name, mimeType) => ({ name, mimeType, buffer: Buffer.from("no picture") });
      await page.getByLabel("Photos", { exact: true }).setInputFiles([file("a.txt", "text/plain"), file("b.jpg", "image/jpeg")]);
      const box = page.getByRole("dialog", { name: "2 photos were not accepted" });
      for (const text of ["a.txt: This is not a picture.", "b.jpg: Unsupported or corrupt image."]) await box.getByText(text).waitFor();
    });
  },
  async "vote in the feed"(page) {
    await open(page, "discover");
    const card = page.locator(".feed > li").nth(1);
    const score = () => card.locator(".votes span").innerText();
    const before = Number(await score());
    await card.getByRole("button", { name: /^Like/ }).click();
    await page.waitForFunction(([element, before]) => Number(element.textContent) === before + 1, [await card.locator(".votes span").elementHandle(), before]);
  },
  async "have a digest written and judge it"(page) {
    await open(page, "digest");
    await page.getByRole("button", { name: "Write a new one" }).click();
    // Until the new one is drawn, thumbs are those of the old one.
    await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
    await page.getByRole("button", { name: /^Good idea/ }).first().click();
    await page.locator("button.on").waitFor();
  },
  async "take the quiz by arrow keys"(page) {
    await open(page, "quiz");
    for (let card = 0; card < 60 && !(await page.getByText("Thank you!").isVisible()); card++) {
      const done = await page.locator("progress").getAttribute("value").catch(() => null);
      await page.keyboard.press(card % 3 ? "ArrowRight" : "ArrowLeft");
      await page.waitForFunction((done) => document.querySelector("progress")?.getAttribute("value") !== done, done);
    }
    await page.getByText("Thank you!").waitFor();
  },
  async "press an arrow key of the quiz twice"(page) {
    let asked = 0;
    const release = [];
    const answers = {
      "**/api/taste/quiz": (route) => route.fulfill({ json: { sessionId: "a-session", cards: ["one", "two", "three"].map((primaryMood) => ({ primaryMood })), responses: [] } }),
      "**/api/taste/quiz/a-session/respond": async (route) => {
        asked += 1;
        await new Promise((resolve) => release.push(resolve));
        await route.fulfill({ json: {} });
      },
    };
    await aside(page, async (page) => {
      await open(page, "quiz");
      await page.keyboard.press("ArrowLeft");
      await page.keyboard.press("ArrowLeft");
      await page.locator(".actions [aria-busy]").first().waitFor();
      // The requests of both keys would be under way before this answer.
      await page.evaluate(() => fetch("/api/health"));
      release.forEach((resolve) => resolve());
      await page.getByText("2 of 3").waitFor();
      expect(asked === 1, `a card is answered ${asked} times`);
    }, answers);
  },
  async "tell the stylist what to remember"(page) {
    await open(page, "profile");
    await page.getByRole("button", { name: "+ Add" }).click();
    await page.getByLabel("Kind").last().selectOption("dislike");
    await page.getByLabel("Preference").last().fill("brown shoes");
    await page.getByRole("button", { name: "Save memory" }).click();
    await page.getByText("Memory saved.").waitFor();
    await page.reload();
    await open(page, "profile");
    expect(await page.getByLabel("Preference").last().inputValue() === "brown shoes", "the preference is gone");
  },
  async "look after the service"(page) {
    await page.evaluate(() => fetch("/api/digest/run?force=true", { method: "POST", headers: { Prefer: "respond-async", "Content-Type": "application/json" }, body: "{}" }));
    await open(page, "jobs");
    await page.getByRole("button", { name: "Open" }).first().click();
    await page.getByRole("dialog").getByText("Input").waitFor();
    await page.keyboard.press("Escape");
    for (const name of ["letters", "sources", "health"]) await open(page, name);
    await page.getByText("pluckit-processor").waitFor();
  },
  async "read why a source was not scraped"(page) {
    await open(page, "sources");
    const row = page.locator("tbody tr").filter({ hasText: "reddit-malefashionadvice" });
    await row.getByRole("button", { name: "Scrape now" }).click();
    await page.locator(".toast").filter({ hasText: "Scrape failed: The source could not be fetched." }).waitFor();
    const reload = page.getByRole("button", { name: "Reload" });
    const reason = row.getByText("The source could not be fetched.");
    for (let tries = 0; tries < 60 && !(await reason.count()); tries++) {
      await pause(500);
      await reload.click();
      await page.waitForFunction(() => !document.querySelector("[aria-busy]"));
    }
    expect(await reason.count(), "the source does not say why it was not scraped");
  },
  async "find a job that failed, and restart it"(page) {
    await open(page, "jobs");
    await page.getByLabel("State").selectOption("Failed");
    const reload = page.getByRole("button", { name: "Reload" });
    const failed = page.locator("tbody tr").filter({ hasText: "Failed" }).filter({ hasText: "scraper.run" });
    for (let tries = 0; tries < 60 && !(await failed.count()); tries++) {
      await pause(500);
      await reload.click();
      await page.waitForFunction(() => !document.querySelector("[aria-busy]"));
    }
    await failed.first().getByRole("button", { name: "Open" }).click();
    const box = page.getByRole("dialog");
    await box.getByText("History").waitFor();
    await box.getByRole("button", { name: "Restart" }).click();
    await box.waitFor({ state: "detached" });
    await page.getByLabel("State").selectOption("");
    await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].filter((row) => /scrape/i.test(row.textContent)).length >= 2);
  },
  async "run a timer, by keyboard alone"(page) {
    await open(page, "timers");
    const row = page.locator("tbody tr").filter({ hasText: "PluckItJobSweeper" });
    await row.getByRole("button", { name: "Run now" }).focus();
    await page.keyboard.press("Enter");
    await page.getByText("PluckItJobSweeper runs.").waitFor();
    await page.getByRole("button", { name: "Reload" }).click();
    await row.getByText(/second|now/).first().waitFor();
  },
  async "ban a user and lift the ban"(page) {
    await open(page, "users");
    await page.getByRole("searchbox", { name: "User id" }).fill("eve");
    await page.keyboard.press("Enter");
    await page.getByText("Items are pieces, wishes and drafts.").waitFor();
    await page.getByRole("button", { name: "Ban", exact: true }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("spam");
    await page.keyboard.press("Enter");
    await page.getByText("banned", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Lift ban" }).click();
    await page.getByText("may contribute").waitFor();
  },
  async "see in the audit log what was done, and its lines in the log"(page) {
    await open(page, "audit");
    const row = page.locator("tbody tr").filter({ hasText: "Bans a user" });
    await row.first().getByRole("link", { name: "Log" }).click();
    await page.locator(".lines li").filter({ hasText: "POST /api/admin/ban" }).first().waitFor();
  },
  async "follow the log"(page) {
    await open(page, "log");
    await page.locator(".lines li").first().waitFor();
    await page.getByRole("searchbox", { name: "Request id" }).fill("a-request");
    await page.keyboard.press("Enter");
    await page.getByText("No line matches so far.").waitFor();
    await page.evaluate(() => fetch("/api/moods", { headers: { "x-request-id": "a-request" } }));
    await page.locator(".lines li").filter({ hasText: "/api/moods" }).waitFor();
    await page.getByRole("searchbox", { name: "Request id" }).fill("");
    await page.getByRole("searchbox", { name: "Text" }).fill("listening");
    await page.keyboard.press("Enter");
    await page.locator(".lines li").filter({ hasText: "listening" }).first().waitFor();
    await page.getByLabel("Level").selectOption("error");
    await page.getByText("No line matches so far.").waitFor();
  },
  async "look at the settings"(page) {
    await open(page, "settings");
    await page.getByRole("searchbox").fill("ADMIN_USER");
    await page.getByRole("cell", { name: "local-dev-user" }).waitFor();
  },
};

const chosen = Object.entries(journeys).filter(([name]) => (process.env.ONLY ?? "").split(",").some((word) => name.includes(word)));

/**
 * Runs `work` in a separate tab, where error responses, which the browser logs, are allowed. `answers` are handlers of requests by
 * pattern, in place before the tab loads: the first page that it shows reads the wardrobe, too, and keeps it for the others.
 */
async function aside(page, work, answers = {}) {
  const other = await page.context().newPage();
  other.setDefaultTimeout(20_000);
  for (const [pattern, answer] of Object.entries(answers)) await other.route(pattern, answer);
  await other.goto(base);
  await other.locator("nav a").first().waitFor();
  try {
    await work(other);
  } finally {
    await other.close();
  }
}

/** The part of the picture in the dialog that one sees through. */
const seeThrough = (page) => page.evaluate(() => {
  const image = document.querySelector("dialog img.picture");
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  let through = 0;
  for (let at = 3; at < data.length; at += 4) through += data[at] < 10;
  return through / (width * height);
});

const shot = async (page, name) => screenshots && page.screenshot({ path: join(screenshots, `${name}.png`) });

const has = (page, path) => page.evaluate(async (path) => path in (await (await fetch("/api/openapi.json")).json()).paths, path);

/** Looks at every page: picture, accessibility, width. */
async function look(page, session, kind) {
  const names = await page.locator("nav a").evaluateAll((links) => links.map((link) => link.dataset.page));
  for (const name of names) {
    await open(page, name);
    await page.waitForFunction(() => [...document.images].every((image) => image.complete || image.getBoundingClientRect().top > innerHeight));
    if (screenshots) await page.screenshot({ path: join(screenshots, `${kind}-${name}.png`) });
    // Through the debugger, because the page lets no foreign script in.
    const { result } = await session.send("Runtime.evaluate", { expression: `${axe}; axe.run().then((found) => JSON.stringify(found.violations))`, awaitPromise: true, returnByValue: true });
    for (const { id, impact, nodes } of JSON.parse(result.value)) {
      if (["serious", "critical"].includes(impact)) fault(`${kind} ${name}`, `axe: ${id}: ${nodes[0].html.slice(0, 120)}`);
    }
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (over > 0) fault(`${kind} ${name}`, `${over} pixels too wide`);
  }
}

/** Reads the page of the API at each of its addresses, and sends the request that it fills in. */
async function tryApi(page, kind) {
  for (const path of ["/docs", "/api/docs/", "/api/docs"]) {
    await page.goto(`${base}${path}`);
    await page.getByText("Ask the stylist", { exact: false }).first().waitFor();
  }
  if (screenshots) await page.screenshot({ path: join(screenshots, `${kind}-docs.png`) });
  const operation = page.locator("#operations-chat-take_turn");
  if (!(await operation.isVisible())) await page.locator("#operations-tag-chat").click();
  await operation.locator(".opblock-summary-control").click();
  await operation.getByRole("button", { name: "Execute" }).click();
  await operation.locator(".live-responses-table .response-col_status").getByText("200").waitFor();
  if (screenshots) await operation.screenshot({ path: join(screenshots, `${kind}-docs-operation.png`) });
}

const { base, stop } = await start();
// Not with the options that the package suggests: they turn off web security, and leave stale tiles in screenshots.
const browser = await chromium.launch({ executablePath: await sparticuz.executablePath(), args: ["--no-sandbox", "--disable-gpu"], headless: true });
if (screenshots) await mkdir(screenshots, { recursive: true });
try {
  const views = [["light", 1280, 860, "light"], ["dark", 1280, 860, "dark"], ["phone", 390, 844, "light"]];
  for (const [kind, width, height, colorScheme] of views) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    let where = "start";
    page.on("console", (message) => message.type() === "error" && fault(`${kind} ${where}`, message.text()));
    page.on("pageerror", (error) => fault(`${kind} ${where}`, error.message));
    page.on("request", (request) => {
      const { protocol, host } = new URL(request.url());
      if (protocol.startsWith("http") && host !== new URL(base).host) fault(`${kind} ${where}`, `asks another host: ${request.url()}`);
    });
    await page.goto(base);
    await page.locator("nav a").first().waitFor();
    for (const [name, journey] of (kind === "light" ? chosen : [])) {
      where = name;
      const began = performance.now();
      await journey(page).then(() => console.log(`ok     ${name} (${Math.round(performance.now() - began)} ms)`), (error) => fault(name, error.message));
    }
    if (process.env.ONLY) break;
    where = "look";
    await look(page, await context.newCDPSession(page), kind).catch((error) => fault(`${kind} look`, error.message));
    where = "docs";
    await tryApi(page, kind).catch((error) => fault(`${kind} docs`, error.message));
    await context.close();
  }
} finally {
  await browser.close();
  await stop();
}
for (const text of faults) console.error(`FAULT  ${text}`);
process.exitCode = faults.length ? 1 : 0;
