// One page of a report: its pictures, what was recognised, the verdict, the answers, downloads.

import * as api from "./api.js";
import { answers } from "./answers.js";
import { h, save } from "./dom.js";
import { editor } from "./editor.js";
import * as i18n from "./i18n.js";

const { t, number } = i18n;

export function pageCard(entry, context) {
  const { page } = entry;
  const title = t("page.of", { page: page.page, pages: page.pages });
  const card = h(
    "article",
    { class: "card", "data-page": String(page.page), "aria-label": title },
    h("h3", { tabIndex: -1 }, title),
    h(
      "div",
      { class: "columns" },
      h("div", { class: "pictures" }, pictures(entry, context)),
      h("div", { class: "facts" }, ...facts(entry, context)),
    ),
  );
  return card;
}

// --- pictures ------------------------------------------------------------------------------------

function views(page) {
  const found = [];
  const offer = (file, key, values = {}) => {
    if (page.files.includes(file)) found.push({ file, words: t(key, values) });
  };
  offer("overlay.png", "tab.overlay");
  offer("page.jpg", "tab.page");
  offer("check.png", "tab.check");
  for (const answer of page.answers) {
    if (answer.heat_map) offer(answer.heat_map, "tab.heat", { task: answer.title });
  }
  return found;
}

function pictures(entry, context) {
  const { page } = entry;
  if (entry.edit) return editor(entry, context);
  const offered = views(page);
  if (offered.length === 0) return h("p", { class: "empty" }, t("page.no-picture"));
  if (!offered.some((one) => one.file === entry.view)) entry.view = offered[0].file;
  const chosen = offered.find((one) => one.file === entry.view);
  const buttons = offered.map((one) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(one === chosen),
        onclick: () => {
          entry.view = one.file;
          context.redraw();
        },
      },
      one.words,
    ),
  );
  const image = h("img", { alt: t("picture.alt", { what: chosen.words, page: page.page }) });
  load(entry, chosen.file, image);
  const parts = [h("div", { class: "tabs", role: "group", "aria-label": t("tab.group") }, ...buttons)];
  parts.push(h("div", { class: "frame", tabIndex: 0, role: "region", "aria-label": chosen.words }, image));
  if (entry.view.startsWith("heat-")) parts.push(h("p", { class: "small" }, t("heat.note")));
  return h("div", {}, ...parts);
}

export async function load(entry, name, image) {
  if (!entry.pictures.has(name)) {
    try {
      const content = await api.picture(entry.id, entry.page.page, name);
      entry.pictures.set(name, URL.createObjectURL(content));
    } catch {
      image.alt = t("reason.report-unknown");
      return;
    }
  }
  image.src = entry.pictures.get(name);
}

// --- facts ---------------------------------------------------------------------------------------

function facts(entry, context) {
  const { page } = entry;
  const parts = [];
  if (page.status !== "done") parts.push(refused(page));
  if (page.format) parts.push(recognised(page, context.about));
  if (page.verdict) parts.push(quality(page));
  if (page.warnings.length > 0) parts.push(warnings(page));
  parts.push(...answers(entry, context));
  parts.push(actions(entry, context));
  return parts;
}

function refused(page) {
  const key = `reason.${page.reason.code}`;
  const withheld = page.status === "withheld";
  return h(
    "div",
    { class: "refusal" },
    h("strong", {}, t(withheld ? "page.withheld" : "page.refused")),
    h("p", {}, i18n.has(key) ? t(key) : t("reason.unknown")),
    h(
      "details",
      {},
      h("summary", {}, t("details")),
      h("p", { class: "small", lang: "en" }, `Expected ${page.reason.expected}; found ${page.reason.found}.`),
      h("p", { class: "small" }, page.reason.code),
    ),
  );
}

function recognised(page, about) {
  const format = about.formats.find((one) => one.id === page.format);
  const machine = format ? `${format.vendor} ${format.model}`.trim() || page.format : t("format.custom");
  const { scale } = page;
  const from = (source) => (i18n.has(`from.${source}`) ? t(`from.${source}`) : source);
  const row = (key, ...value) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, ...value));
  return h(
    "section",
    {},
    h("h4", {}, t("page.recognised")),
    h(
      "dl",
      {},
      row("fact.machine", machine),
      row("fact.layout", page.layout),
      row("fact.speed", `${number(scale.speed_mm_per_s)} mm/s`, h("small", {}, from(scale.speed_from))),
      row("fact.gain", `${number(scale.gain_mm_per_mv)} mm/mV`, h("small", {}, from(scale.gain_from))),
    ),
  );
}

function quality(page) {
  return h(
    "section",
    {},
    h(
      "h4",
      {},
      t("page.quality"),
      h("span", { class: `badge verdict-${page.verdict}` }, t(`verdict.${page.verdict}`)),
    ),
    h("p", {}, t(`verdict.${page.verdict}.what`)),
    page.findings.length > 0 ? h("ul", { class: "findings" }, ...page.findings.map(told)) : null,
  );
}

function told(finding) {
  const key = `finding.${finding.code}`;
  const title = i18n.has(key) ? t(key) : finding.code;
  return h(
    "li",
    { class: `severity-${finding.severity}` },
    h("strong", {}, title),
    h("span", { lang: "en" }, finding.message),
  );
}

function warnings(page) {
  return h(
    "section",
    {},
    h("h4", {}, t("page.warnings")),
    h("ul", { class: "findings" }, ...page.warnings.map(told)),
  );
}

// --- downloads and corrections -------------------------------------------------------------------

function actions(entry, context) {
  const { page, id } = entry;
  const failed = h("p", { class: "small", role: "status" });
  const button = (key, work, name) =>
    h(
      "button",
      {
        type: "button",
        onclick: async () => {
          try {
            save(await work(), name);
            failed.textContent = "";
          } catch (error) {
            failed.textContent = i18n.has(`reason.${error.code}`) ? t(`reason.${error.code}`) : error.message;
          }
        },
      },
      t(key),
    );
  const parts = [];
  const zip = (kind) => button(`download.${kind}`, () => api.files(id, page.page, kind), named(kind, "zip"));
  if (page.files.includes("ecg.hea")) parts.push(zip("wfdb"));
  if (page.files.includes("ecg.csv")) parts.push(zip("csv"));
  if (page.files.includes("image.png")) parts.push(zip("image"));
  const name = h("input", { type: "text", maxLength: 120, autocomplete: "off" });
  const summary = button(
    "download.summary",
    () => api.summary(id, page.page, { name: name.value, language: i18n.language() }),
    named("summary", "pdf"),
  );
  const correctable = page.files.includes("page.jpg") && !entry.edit;
  return h(
    "section",
    { class: "actions" },
    h("h4", {}, t("download.title")),
    h("div", { class: "buttons" }, ...parts),
    h(
      "div",
      { class: "summary" },
      h("label", {}, h("span", {}, t("download.name")), name),
      summary,
    ),
    failed,
    correctable
      ? h(
          "button",
          {
            type: "button",
            class: "primary",
            onclick: () => {
              entry.edit = {};
              context.redraw();
            },
          },
          t("correct.open"),
        )
      : null,
  );

  function named(kind, ending) {
    const stem = context.name.replace(/\.[^.]*$/, "");
    return `${stem}-p${page.page}-${kind}-research-only.${ending}`;
  }
}
