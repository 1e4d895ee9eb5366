// The status page of a running gateway in Chromium: status.mjs http://HOST:PORT [FOLDER FOR SCREENSHOTS].
//
// Checks what a reader sees: live numbers, dark and light, a phone, no scripts, hostile texts, the replay of dead letters.
// The last line is one JSON object.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [base, folder] = process.argv.slice(2);
const wide = { width: 1280, height: 900 };
const phone = { width: 390, height: 844 };
let checks = 0;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

async function post(path, body) {
  const headers = { "content-type": "application/json", "tidewell-ack": "stored" };
  return (await fetch(base + path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// A page with its own settings, on which nothing may fail or be blocked by the page's own policy.
async function opened(options, look) {
  const context = await browser.newContext({ viewport: wide, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(base, { waitUntil: "load" });
  await look(page);
  assert.deepEqual(complaints, []);
  await context.close();
  checks += 1;
}

const samples = (count) => Array.from({ length: count }, (_, at) => ({ metric: "room.temperature", value: at, host: "kitchen" }));
const hostile = "<img src=x onerror=document.title='taken'>";

await post("/write/logs", [{ message: "good" }, { time: "yesterday", message: "bad" }]);
await post("/write/metrics", [{ metric: "room.temperature", value: hostile }]);

// Rates follow what comes in, without a reload.
await opened({}, async (page) => {
  await page.locator("#live.good").waitFor();
  const rate = () => page.evaluate(() => Number(document.querySelector("[data-records]").dataset.records));
  for (let at = 0; at < 100 && (await rate()) < 100; at += 1) {
    await post("/write/metrics", samples(500));
    await page.waitForTimeout(200);
  }
  assert.ok((await rate()) >= 100, "records per second are shown while records come in");
  await page.locator("#flow", { hasText: /rest\s*[\d,.]+\s*[\d,]{3,}/ }).waitFor();
  await page.locator("#stores", { hasText: "metrics_events" }).waitFor();
  const points = await page.locator("#chart polyline").getAttribute("points");
  assert.ok(points.split(" ").length >= 2, "the chart has points");
});

// What senders wrote is text.
await opened({}, async (page) => {
  await page.locator("#letters table").waitFor();
  assert.equal(await page.title(), "Tidewell");
  assert.equal(await page.locator("img").count(), 0);
  await page.locator("#letters", { hasText: "metrics_events" }).waitFor();
});

// Dark and light, wide and narrow: readable, and nothing sticks out.
for (const colorScheme of ["light", "dark"]) {
  for (const [name, viewport] of [["wide", wide], ["narrow", phone]]) {
    await opened({ colorScheme, viewport, deviceScaleFactor: name === "narrow" ? 2 : 1 }, async (page) => {
      await page.locator("#live.good").waitFor();
      for (let at = 0; at < 15; at += 1) {
        await post("/write/metrics", samples(100 + 80 * (at % 5)));
        await page.waitForTimeout(300);
      }
      const { sticksOut, ground, text } = await page.evaluate(() => {
        const style = getComputedStyle(document.body);
        const sticksOut = document.documentElement.scrollWidth > innerWidth;
        return { sticksOut, ground: style.backgroundColor, text: style.color };
      });
      assert.equal(sticksOut, false, `${name} needs no scrolling to the side`);
      const brightness = (colour) => colour.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
      assert.equal(brightness(ground) > brightness(text), colorScheme === "light");
      if (folder) await page.screenshot({ path: `${folder}/status-${colorScheme}-${name}.png`, fullPage: name === "wide" });
    });
  }
}

// Without scripts the essentials are there, and what does nothing is not.
await opened({ javaScriptEnabled: false }, async (page) => {
  const text = await page.locator("main").innerText();
  for (const part of ["ready", "records in", "timescale", "clickhouse", "Budget used", "metrics_events", "Dead letters that wait"]) {
    assert.ok(text.includes(part), `${part} is there without scripts`);
  }
  assert.equal(await page.locator("button:visible").count(), 0);
});

// A click sends dead letters again; asking first, and telling what became of them.
await opened({}, async (page) => {
  const said = [];
  page.on("dialog", async (dialog) => {
    said.push(dialog.message());
    await dialog.accept();
  });
  await page.locator("#live.good").waitFor();
  await page.locator("button[data-replay=logs_events]").click();
  for (let at = 0; at < 50 && said.length < 2; at += 1) await page.waitForTimeout(100);
  assert.match(said[0], /logs_events/);
  assert.match(said[1], /\d+ sent again, \d+ refused, \d+ remain/);
});

await browser.close();
console.log(JSON.stringify({ browser: "chromium", checks }));
