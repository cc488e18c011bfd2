"use strict";
// The page of `petvr serve`. What comes from data is put in as text, never as HTML.
const id = (name) => document.getElementById(name);
const element = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
let about = { runs: [] };
let asked = 0; // number of the last question: an answer that comes later than the next question is dropped
let listed = 0; // the same of the list of test queries
let start = 0; // of the test queries shown

async function ask(path, options) {
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || answer.detail || `the server answers ${response.status}`);
  return answer;
}

function tile(hit) {
  const item = element("li", "", { className: hit.right ? "right" : "" });
  const button = element("button", "", { className: "tile", type: "button" });
  button.setAttribute("aria-label", `play ${hit.video}`);
  button.append(element("img", "", { src: `strip/${hit.number}.jpg`, alt: `frames of ${hit.video}`, loading: "lazy" }));
  button.addEventListener("click", () => play(button, hit));
  const head = element("p");
  head.append(element("b", hit.rank ? `${hit.rank}.` : ""), hit.rank ? ` ${hit.score.toFixed(4)} ${hit.video}` : ` ${hit.video}`);
  item.append(button, head);
  for (const caption of hit.captions) item.append(element("p", caption));
  if (hit.more) item.append(element("p", `… ${hit.more} more`, { className: "soft" }));
  return item;
}

function play(button, hit) {
  const video = element("video", "", { controls: true, muted: true, autoplay: true, loop: !hit.part, playsInline: true });
  const note = element("p", "loading; what the browser cannot play is rewritten first", { className: "soft" });
  video.poster = `strip/${hit.number}.jpg`;
  video.addEventListener("playing", () => note.remove(), { once: true });
  video.addEventListener("error", () => { note.textContent = "cannot be played; the strip shows the frames the model saw"; video.replaceWith(button); });
  video.src = `video/${hit.number}${hit.part}`;
  button.replaceWith(video);
  video.after(note);
  video.focus();
  video.play().catch(() => {}); // the click asks for it: autoplay alone waits until the video is in view
}

function show(runs, list, itemOf) {
  id("runs").replaceChildren(...runs.map((run, number) => {
    const section = element("section");
    const time = run.ms === undefined ? "" : `, ${run.ms} ms`;
    section.append(element("h2", about.runs[number].name), element("p", about.runs[number].said + time, { className: "soft" }));
    const hits = element("ol", "", { className: list });
    hits.append(...run.hits.map(itemOf));
    section.append(run.hits.length ? hits : element("p", "no result"));
    return section;
  }));
}

async function answer(question, what, render) {
  const number = ++asked;
  id("state").textContent = what;
  try {
    const found = await question();
    if (number === asked) { render(found); id("state").textContent = ""; }
  } catch (error) {
    if (number === asked) { id("runs").replaceChildren(); id("truth").hidden = true; id("state").textContent = error.message; }
  }
}

function search(sentence, caption, push = true) {
  id("q").value = sentence;
  if (push) history.pushState({ sentence, caption }, "", `?q=${encodeURIComponent(sentence)}`);
  const of = caption === undefined || caption === null ? "" : `&caption=${caption}`;
  return answer(() => ask(`api/search?q=${encodeURIComponent(sentence)}${of}`), "searching", (found) => {
    show(found.runs, "hits", tile);
    id("truth").hidden = !found.truth;
    id("truth").replaceChildren(...(found.truth ? [element("h2", "Its own video"), tile(found.truth)] : []));
  });
}

function describe(file) {
  if (!file || id("drop").hidden) return undefined;
  const question = () => ask(`api/captions?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
  return answer(question, `reading ${file.name}`, (found) => {
    id("truth").hidden = true;
    show(found.runs, "hits texts", (hit) => element("li", `${hit.rank}. ${hit.score.toFixed(4)} ${hit.text}`));
  });
}

async function browse() {
  const number = ++listed;
  const found = await ask(`api/queries?start=${start}&contains=${encodeURIComponent(id("contains").value)}`);
  if (number !== listed) return;
  id("count").textContent = `${found.of} queries`;
  id("queries").start = start + 1;
  id("queries").replaceChildren(...found.queries.map((query) => {
    const button = element("button", query.text, { type: "button" });
    button.addEventListener("click", () => { search(query.text, query.caption); scrollTo(0, 0); });
    const item = element("li");
    item.append(button);
    return item;
  }));
  id("before").disabled = start === 0;
  id("after").disabled = start + found.queries.length >= found.of;
}

id("form").addEventListener("submit", (event) => { event.preventDefault(); search(id("q").value); });
id("file").addEventListener("change", () => describe(id("file").files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); id("drop").classList.toggle("over", kind === "dragover"); });
}
document.addEventListener("drop", (event) => describe(event.dataTransfer.files[0]));
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target.tagName !== "INPUT") { event.preventDefault(); id("q").select(); }
});
id("browse").addEventListener("toggle", browse);
id("contains").addEventListener("input", () => { start = 0; browse(); });
id("before").addEventListener("click", () => { start = Math.max(0, start - 50); browse(); });
id("after").addEventListener("click", () => { start += 50; browse(); });
addEventListener("popstate", (event) => { if (event.state) search(event.state.sentence, event.state.caption, false); });

ask("api/about").then((found) => {
  about = found;
  const captions = found.captions ? ` and ${found.captions} captions` : "";
  id("drop").hidden = id("browse").hidden = !captions; // an index has none
  id("about").textContent = [`${found.videos} videos${captions} of ${found.dataset}`, ...found.runs.flatMap((run) => run.notes)].join(" · ");
  const sentence = new URLSearchParams(location.search).get("q");
  if (sentence) search(sentence, null, false);
}).catch((error) => { id("state").textContent = error.message; });
