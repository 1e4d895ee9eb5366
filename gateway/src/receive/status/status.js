// Keeps the page up to date: replaces the sections that change with the HTML that the gateway sends, draws records per
// second, and lets dead letters be sent again. The page says the same without it.
"use strict";

document.documentElement.classList.add("scripted");

const SECONDS_SHOWN = 120;
const CHART_HEIGHT = 24;
const live = document.getElementById("live");
const line = document.querySelector("#chart polyline");
const rates = [];

function draw(rate) {
  rates.push(rate);
  if (rates.length > SECONDS_SHOWN) rates.shift();
  const most = Math.max(...rates, 1);
  const start = SECONDS_SHOWN - rates.length;
  const points = rates.map((value, at) => `${start + at},${(CHART_HEIGHT - 1 - (value / most) * (CHART_HEIGHT - 2)).toFixed(2)}`);
  line.setAttribute("points", points.join(" "));
}

const events = new EventSource("/status/events");
events.onmessage = (event) => {
  for (const [id, html] of Object.entries(JSON.parse(event.data))) {
    const section = document.getElementById(id);
    // What has not changed stays, so that a selection or a button under the pointer is not lost.
    if (section && section.dataset.html !== html) {
      section.innerHTML = html;
      section.dataset.html = html;
    }
  }
  draw(Number(document.querySelector("[data-records]")?.dataset.records ?? 0));
  live.textContent = "live";
  live.className = "good";
};
events.onerror = () => {
  live.textContent = "the gateway does not answer; trying again";
  live.className = "bad";
};

async function replay(button) {
  const target = button.dataset.replay;
  if (!confirm(`Send the dead letters for ${target} again, at most 100 of them?`)) return;
  // A browser asks for name and key by itself where they are wanted.
  const answer = await fetch(`/dead-letters/replay?limit=100&target=${encodeURIComponent(target)}`, { method: "POST" });
  const told = await answer.json().catch(() => ({}));
  const reason = told.error?.message ?? "";
  alert(answer.ok ? `${told.replayed} sent again, ${told.refused} refused, ${told.remaining} remain` : `not done: ${answer.status} ${reason}`);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-replay]");
  if (button) replay(button);
});
