// The screening page: takes files, follows them through the server, and shows what comes back.

import * as api from "./api.js";
import { pageCard } from "./card.js";
import { h, save } from "./dom.js";
import * as i18n from "./i18n.js";

const { t } = i18n;
const POLL_MS = 400;
const AT_ONCE = 2;

const at = (id) => document.getElementById(id);
const shown = { about: null, risk: false };
const reports = [];
const queue = [];
let running = 0;

// --- reports -------------------------------------------------------------------------------------

function add(files) {
  for (const file of files) {
    const report = {
      name: file.name,
      file,
      format: at("format").value,
      clinical: clinical(),
      state: "waiting",
      id: null,
      pages: new Map(),
      total: null,
      error: null,
      section: h("section", { class: "report" }),
    };
    reports.push(report);
    at("reports").append(report.section);
    queue.push(report);
    render(report);
  }
  at("session").hidden = reports.length === 0;
  next();
}

function next() {
  while (running < AT_ONCE && queue.length > 0) {
    running += 1;
    follow(queue.shift()).finally(() => {
      running -= 1;
      next();
    });
  }
}

async function follow(report) {
  try {
    if (report.file.size > shown.about.limits.upload_bytes) {
      throw new api.Refused(413, { code: "upload-too-large", message: "", hint: "" });
    }
    const sent = await patiently(() => api.send(report.file, report.format, report.clinical));
    report.id = sent.id;
    report.file = null;
    if (report.removed) {
      api.remove(sent.id);
      return;
    }
    await poll(sent.id, report, (page) => show(report, sent.id, page));
  } catch (error) {
    report.error = error;
    report.state = "failed";
  }
  render(report);
  tell(report.state === "failed" ? t("told.failed", { name: report.name }) : t("told.done", { name: report.name }));
}

async function patiently(send) {
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (error.status !== 429) throw error;
      await pause(1000 * Math.max(1, error.retryAfterS));
    }
  }
}

async function poll(id, report, found) {
  const seen = new Set();
  for (;;) {
    const state = await api.state(id);
    report.total = state.pages_total ?? report.total;
    report.state = state.state;
    for (const page of state.pages) {
      if (!seen.has(page.page)) {
        seen.add(page.page);
        found(page);
      }
    }
    if (state.error) report.error = { code: state.error.code, ...state.error };
    if (state.state === "done" || state.state === "failed") return;
    render(report);
    await pause(POLL_MS);
  }
}

function show(report, id, page) {
  const before = report.pages.get(page.page);
  if (before && before.id !== id && before.id !== report.id) api.remove(before.id);
  report.pages.set(page.page, { id, page, view: null, edit: before?.edit ?? null, pictures: new Map() });
  render(report);
}

async function correct(report, entry, correction) {
  const sent = await api.correct(report.id, { clinical: report.clinical, ...correction });
  const told = { state: "waiting", total: null, error: null };
  let found = false;
  for (;;) {
    const state = await api.state(sent.id);
    for (const page of state.pages) {
      found = true;
      show(report, sent.id, page);
    }
    told.state = state.state;
    if (state.state === "failed") throw new api.Refused(422, { ...state.error, message: state.error.found });
    if (state.state === "done" || found) break;
    await pause(POLL_MS);
  }
  tell(t("told.corrected"));
  report.section.querySelector(`[data-page="${entry.page.page}"] h3`)?.focus();
}

function remove(report) {
  report.removed = true;
  const ids = new Set([report.id, ...[...report.pages.values()].map((entry) => entry.id)]);
  for (const id of ids) if (id) api.remove(id);
  for (const entry of report.pages.values()) {
    for (const url of entry.pictures.values()) URL.revokeObjectURL(url);
  }
  report.section.remove();
  reports.splice(reports.indexOf(report), 1);
  const waiting = queue.indexOf(report);
  if (waiting >= 0) queue.splice(waiting, 1);
  at("session").hidden = reports.length === 0;
}

// --- drawing -------------------------------------------------------------------------------------

function render(report) {
  const busy = report.state === "waiting" || report.state === "working";
  const head = h(
    "div",
    { class: "report-head" },
    h("h2", {}, report.name),
    h("span", { class: `state state-${report.state}` }, stateWords(report)),
    h("button", { type: "button", class: "quiet", onclick: () => remove(report) }, t("report.remove")),
  );
  const parts = [head];
  if (busy) parts.push(h("div", { class: "busy", "aria-hidden": "true" }));
  if (report.error) parts.push(refusal(report.error));
  const ordered = [...report.pages.values()].sort((a, b) => a.page.page - b.page.page);
  for (const entry of ordered) {
    parts.push(
      pageCard(entry, {
        about: shown.about,
        risk: shown.risk,
        name: report.name,
        redraw: () => render(report),
        correct: (correction) => correct(report, entry, correction),
      }),
    );
  }
  report.section.replaceChildren(...parts);
  report.section.setAttribute("aria-busy", String(busy));
}

function stateWords(report) {
  if (report.state === "working" && report.total) {
    return t("state.pages", { done: report.pages.size, total: report.total });
  }
  return t(`state.${report.state}`);
}

export function refusal(error) {
  const key = `reason.${error.code}`;
  const words = i18n.has(key) ? t(key) : (error.message || t("reason.unknown"));
  return h(
    "div",
    { class: "refusal", role: "alert" },
    h("strong", {}, t("report.failed")),
    h("p", {}, words),
    h("p", { class: "small" }, error.code),
  );
}

function renderAll() {
  for (const report of reports) render(report);
  const { about } = shown;
  at("intake-limits").textContent = t("intake.limits", {
    mb: about.limits.upload_bytes / 1e6,
    pages: about.limits.pages,
  });
  at("model").textContent = modelWords(about.model);
  const select = at("format");
  const chosen = select.value || "auto";
  select.replaceChildren(
    h("option", { value: "auto" }, t("intake.auto")),
    ...about.formats.map((one) => h("option", { value: one.id }, `${one.vendor} ${one.model}`.trim() || one.id)),
  );
  select.value = chosen;
  renderClinical(about.model);
}

function modelWords(model) {
  if (!model) return t("model.none");
  if (!model.ready) return t("model.not-ready", { title: model.title, reason: model.reason });
  const words = t("model.ready", { title: model.title, id: model.id });
  return model.simulated ? `${words} ${t("answers.simulated")}` : words;
}

function renderClinical(model) {
  const place = at("clinical");
  const before = new Map([...place.querySelectorAll("[name]")].map((one) => [one.name, one.value]));
  const fields = (model?.ready ? model.clinical : []).map((name) => {
    const sex = name === "sex";
    const field = sex
      ? h("select", { name }, ...["", "0", "1"].map((v) => h("option", { value: v }, t(`sex.${v || "none"}`))))
      : h("input", { name, type: "number", step: "any", min: "0", inputMode: "decimal" });
    field.value = before.get(name) ?? "";
    const label = i18n.has(`clinical.${name}`) ? t(`clinical.${name}`) : name;
    return h("label", {}, h("span", {}, label), field);
  });
  place.replaceChildren(...fields);
  at("risk-label").hidden = !model?.ready;
}

function clinical() {
  return [...at("clinical").querySelectorAll("[name]")]
    .filter((field) => field.value !== "")
    .map((field) => `${field.name}=${field.value}`)
    .join(",");
}

// --- start ---------------------------------------------------------------------------------------

function tell(words) {
  at("told").textContent = words;
}

function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

function listen() {
  const drop = at("drop");
  at("files").addEventListener("change", (event) => {
    add(event.target.files);
    event.target.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    add(event.dataTransfer.files);
  });
  // A file that misses the field must not take the place of the page.
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  at("options").addEventListener("submit", (event) => event.preventDefault());
  at("risk").addEventListener("change", (event) => {
    shown.risk = event.target.checked;
    renderAll();
  });
  at("clear").addEventListener("click", () => [...reports].forEach(remove));
  at("zip").addEventListener("click", async () => {
    const ids = reports.flatMap((one) => [...one.pages.values()].map((entry) => entry.id));
    if (ids.length === 0) return;
    try {
      save(await api.zip([...new Set(ids)], i18n.language()), "ecg-research-only.zip");
    } catch (error) {
      tell(i18n.has(`reason.${error.code}`) ? t(`reason.${error.code}`) : error.message);
    }
  });
  window.addEventListener("pagehide", () => {
    for (const report of reports) {
      for (const entry of report.pages.values()) if (entry.id !== report.id) api.remove(entry.id);
      if (report.id) api.remove(report.id);
    }
  });
}

async function start() {
  const select = at("language");
  for (const [code, name] of Object.entries(i18n.LANGUAGES)) {
    select.append(h("option", { value: code, lang: code }, name));
  }
  select.addEventListener("change", async () => {
    await i18n.use(select.value);
    renderAll();
  });
  await i18n.use(i18n.preferred());
  select.value = i18n.language();
  try {
    shown.about = await api.about();
  } catch (error) {
    const key = `reason.${error.code}`;
    at("reports").replaceChildren(refusal(error));
    tell(t(key));
    return;
  }
  listen();
  renderAll();
  document.documentElement.dataset.ready = "true";
}

start();
