// A model's answers: probability, decision, place in the cohort, and which leads weighed most.

import { h, svg } from "./dom.js";
import * as i18n from "./i18n.js";

const { t, percent } = i18n;

export function answers(entry, context) {
  const { page } = entry;
  const { model } = context.about;
  if (!model?.ready) return [];
  const head = h("h4", {}, t("answers.title"));
  if (page.status === "refused" || page.status === "withheld") {
    return [h("section", {}, head, h("p", {}, t("answers.refused")))];
  }
  if (page.no_answer) {
    return [h("section", {}, head, h("p", {}, t("answers.no")), h("p", { class: "small", lang: "en" }, page.no_answer.found))];
  }
  return [
    h(
      "section",
      { class: "answers" },
      head,
      model.simulated ? h("p", { class: "refusal" }, t("answers.simulated")) : null,
      ...page.answers.map((answer) => row(answer, entry, context)),
      h("p", { class: "small strong" }, t("notice")),
    ),
  ];
}

function row(answer, entry, context) {
  const { about } = context;
  const parts = [
    h("h5", {}, answer.title),
    h("p", { class: "probability" }, h("b", {}, percent(answer.probability, 1)), risk(answer, context)),
    bar(answer),
    h("p", {}, decision(answer)),
  ];
  if (context.risk) {
    const values = { low: percent(about.risk_low), high: percent(about.risk_high) };
    parts.push(h("p", { class: "small" }, t("risk.thresholds", values)));
  }
  if (answer.cohort) {
    const values = { percent: percent(answer.cohort.percentile / 100), cohort: answer.cohort.test_set };
    parts.push(h("p", {}, t("answers.cohort", values)));
  }
  if (answer.leads.length > 0) {
    const leads = answer.leads.slice(0, 3).map((one) => `${one.lead} (${percent(one.share)})`);
    parts.push(h("p", {}, t("answers.leads", { leads: leads.join(", ") })));
  }
  if (answer.heat_map) {
    const look = () => {
      entry.view = answer.heat_map;
      entry.edit = null;
      context.redraw();
    };
    parts.push(h("button", { type: "button", class: "quiet", onclick: look }, t("answers.heat")));
  }
  return h("div", { class: "answer" }, ...parts);
}

function decision(answer) {
  if (answer.threshold === null) return t("answers.none");
  const key = answer.positive ? "answers.above" : "answers.below";
  return t(key, { threshold: percent(answer.threshold, 1), point: answer.operating_point ? ` (${answer.operating_point})` : "" });
}

function risk(answer, context) {
  if (!context.risk) return null;
  const { risk_low: low, risk_high: high } = context.about;
  const word = answer.probability < low ? "low" : answer.probability < high ? "middle" : "high";
  return h("span", { class: `badge risk-${word}` }, t(`risk.${word}`));
}

// The number stands beside it: the bar is for the eye alone.
function bar(answer) {
  const parts = [
    svg("rect", { x: 0, y: 4, width: 200, height: 8, rx: 4, class: "bar-track" }),
    svg("rect", { x: 0, y: 4, width: 200 * answer.probability, height: 8, rx: 4, class: "bar-fill" }),
  ];
  if (answer.threshold !== null) {
    const x = 200 * answer.threshold;
    parts.push(svg("line", { x1: x, x2: x, y1: 0, y2: 16, class: "bar-threshold" }));
  }
  return svg("svg", { viewBox: "0 0 200 16", class: "bar", "aria-hidden": "true", preserveAspectRatio: "none" }, ...parts);
}
