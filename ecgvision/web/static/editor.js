// Corrections: another format, or lead boxes moved by mouse, finger or arrow keys.

import * as api from "./api.js";
import { load } from "./card.js";
import { h, save } from "./dom.js";
import * as i18n from "./i18n.js";

const { t } = i18n;
const LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];
const STEP_MM = 0.5;
const FAR_MM = 5;
const LEAST_MM = 3;
const EDGES = ["left_mm", "top_mm", "right_mm", "bottom_mm"];

export function editor(entry, context) {
  const { edit, page } = entry;
  begin(edit, page);
  const image = h("img", { alt: t("picture.alt", { what: t("tab.page"), page: page.page }), draggable: false });
  const stage = h("div", { class: "stage" }, image);
  load(entry, "page.jpg", image);
  const elements = [];
  // Elements stay where their number does: one that is replaced would lose the keyboard's focus.
  const draw = () => {
    if (elements.length !== edit.boxes.length) {
      elements.splice(0, elements.length, ...edit.boxes.map((_, at) => boxElement(at, edit, stage, draw)));
      stage.replaceChildren(image, ...elements);
    }
    elements.forEach((element, at) => show(element, at, edit));
    panel.replaceChildren(...panelParts(edit, draw));
  };
  const panel = h("fieldset", { class: "box-panel" });
  const failed = h("p", { class: "refusal", role: "alert", hidden: true });
  const whole = h(
    "div",
    { class: "editor" },
    h("p", {}, t("correct.help")),
    formatRow(entry, context, edit, draw, failed),
    h("div", { class: "frame" }, stage),
    panel,
    scaleRow(edit),
    failed,
    buttons(entry, context, failed),
  );
  draw();
  return whole;
}

// The page's boxes to begin with; those of a page that nothing fits come from a format.
function begin(edit, page) {
  if (edit.boxes) return;
  edit.boxes = (page.arrangement?.boxes ?? []).map((box) => ({ ...box }));
  edit.page_mm = page.arrangement?.page_mm ?? page.picture_mm;
  edit.shown_mm = page.picture_mm;
  edit.speed = page.scale?.speed_mm_per_s ?? 25;
  edit.gain = page.scale?.gain_mm_per_mv ?? 10;
  edit.selected = 0;
  edit.wholeRow = false;
}

// --- one box on the page -------------------------------------------------------------------------

function boxElement(index, edit, stage, draw) {
  const element = h("button", {
    type: "button",
    onkeydown: (event) => key(event, index, edit, draw),
    onpointerdown: (event) => drag(event, element, index, edit, stage, draw),
    onclick: () => {
      edit.selected = index;
      draw();
    },
  });
  element.append(h("span", {}));
  return element;
}

function show(element, index, edit) {
  const box = edit.boxes[index];
  const selected = index === edit.selected;
  element.className = `lead-box${selected ? " selected" : ""}${box.rhythm_strip ? " strip" : ""}`;
  element.dataset.lead = box.lead;
  element.setAttribute("aria-pressed", String(selected));
  const values = {
    lead: box.rhythm_strip ? t("lead.strip", { lead: box.lead }) : box.lead,
    x: box.left_mm.toFixed(1),
    y: ((box.top_mm + box.bottom_mm) / 2).toFixed(1),
  };
  element.setAttribute("aria-label", t("lead.at", values));
  element.firstChild.textContent = box.lead;
  place(element, box, edit);
}

function place(element, box, edit) {
  const [width, height] = edit.shown_mm;
  element.style.left = `${(100 * box.left_mm) / width}%`;
  element.style.top = `${(100 * box.top_mm) / height}%`;
  element.style.width = `${(100 * (box.right_mm - box.left_mm)) / width}%`;
  element.style.height = `${(100 * (box.bottom_mm - box.top_mm)) / height}%`;
}

function key(event, index, edit, draw) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const way = ways[event.key];
  if (!way) return;
  event.preventDefault();
  const step = event.shiftKey ? FAR_MM : STEP_MM;
  edit.selected = index;
  move(edit, index, step * way[0], step * way[1]);
  draw();
}

function drag(event, element, index, edit, stage, draw) {
  if (event.button !== 0) return;
  event.preventDefault();
  element.focus();
  edit.selected = index;
  const scale = edit.shown_mm[0] / stage.getBoundingClientRect().width;
  const box = edit.boxes[index];
  const corner = element.getBoundingClientRect();
  const resizes = corner.right - event.clientX < 10 && corner.width > 40;
  let [x, y] = [event.clientX, event.clientY];
  element.setPointerCapture(event.pointerId);
  const elements = stage.querySelectorAll(".lead-box");
  const moved = (now) => {
    const [dx, dy] = [(now.clientX - x) * scale, (now.clientY - y) * scale];
    [x, y] = [now.clientX, now.clientY];
    if (resizes) box.right_mm = Math.max(box.left_mm + LEAST_MM, box.right_mm + dx);
    else move(edit, index, dx, dy);
    edit.boxes.forEach((one, at) => place(elements[at], one, edit));
  };
  const over = () => {
    element.removeEventListener("pointermove", moved);
    draw();
  };
  element.addEventListener("pointermove", moved);
  element.addEventListener("pointerup", over, { once: true });
  element.addEventListener("pointercancel", over, { once: true });
}

function move(edit, index, dx, dy) {
  const chosen = edit.boxes[index];
  const middle = (box) => (box.top_mm + box.bottom_mm) / 2;
  const level = middle(chosen);
  for (const box of edit.boxes) {
    if (box !== chosen && !(edit.wholeRow && Math.abs(middle(box) - level) < 1)) continue;
    box.left_mm += dx;
    box.right_mm += dx;
    box.top_mm += dy;
    box.bottom_mm += dy;
  }
}

// --- the chosen box in numbers -------------------------------------------------------------------

function panelParts(edit, draw) {
  const box = edit.boxes[edit.selected];
  const parts = [h("legend", {}, t("correct.box"))];
  if (box) {
    const lead = h("select", {}, ...LEADS.map((one) => h("option", { value: one }, one)));
    lead.value = box.lead;
    lead.addEventListener("change", () => {
      box.lead = lead.value;
      draw();
    });
    parts.push(h("label", {}, h("span", {}, t("correct.lead")), lead));
    for (const edge of EDGES) parts.push(edgeField(box, edge, draw));
    parts.push(
      check(t("correct.strip"), box.rhythm_strip, (on) => {
        box.rhythm_strip = on;
        draw();
      }),
    );
    parts.push(check(t("correct.row"), edit.wholeRow, (on) => (edit.wholeRow = on)));
    parts.push(
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () => {
            edit.boxes.splice(edit.selected, 1);
            edit.selected = Math.max(0, edit.selected - 1);
            draw();
          },
        },
        t("correct.remove"),
      ),
    );
  }
  parts.push(h("button", { type: "button", class: "quiet", onclick: () => { addBox(edit); draw(); } }, t("correct.add")));
  return parts;
}

function edgeField(box, edge, draw) {
  const field = h("input", { type: "number", step: "0.5", value: box[edge].toFixed(1) });
  field.addEventListener("change", () => {
    if (Number.isFinite(field.valueAsNumber)) box[edge] = field.valueAsNumber;
    draw();
  });
  return h("label", {}, h("span", {}, t(`correct.${edge}`)), field);
}

function check(words, on, changed) {
  const field = h("input", { type: "checkbox", checked: on });
  field.addEventListener("change", () => changed(field.checked));
  return h("label", { class: "check" }, field, h("span", {}, words));
}

function addBox(edit) {
  const like = edit.boxes[edit.selected];
  const there = new Set(edit.boxes.filter((box) => !box.rhythm_strip).map((box) => box.lead));
  const lead = LEADS.find((one) => !there.has(one));
  const box = like
    ? { ...like, top_mm: like.top_mm + 8, bottom_mm: like.bottom_mm + 8 }
    : { left_mm: 10, top_mm: 30, right_mm: 72.5, bottom_mm: 60, start_s: 0 };
  edit.boxes.push({ ...box, lead: lead ?? "II", rhythm_strip: !lead });
  edit.selected = edit.boxes.length - 1;
}

function scaleRow(edit) {
  const field = (name, words) => {
    const input = h("input", { type: "number", step: "any", min: "0", value: String(edit[name]) });
    input.addEventListener("change", () => {
      if (input.valueAsNumber > 0) edit[name] = input.valueAsNumber;
    });
    return h("label", {}, h("span", {}, words), input);
  };
  return h("div", { class: "scale-row" }, field("speed", t("correct.speed")), field("gain", t("correct.gain")));
}

// --- formats, and what becomes of it -------------------------------------------------------------

function formatRow(entry, context, edit, draw, failed) {
  const formats = h(
    "select",
    {},
    ...context.about.formats.map((one) => h("option", { value: one.id }, `${one.vendor} ${one.model}`.trim() || one.id)),
  );
  if (context.about.formats.some((one) => one.id === entry.page.format)) formats.value = entry.page.format;
  const start = h("select", {}, h("option", { value: "" }, t("correct.choose")));
  for (const one of context.about.formats) {
    one.layouts.forEach((name, at) => start.append(h("option", { value: `${at} ${one.id}` }, `${one.id} ${name}`)));
  }
  start.addEventListener("change", async () => {
    if (!start.value) return;
    const [at, ...id] = start.value.split(" ");
    try {
      const found = await api.declared(id.join(" "), at);
      edit.boxes = found.boxes;
      edit.page_mm = found.page_mm;
      edit.selected = 0;
      draw();
    } catch (error) {
      say(failed, error);
    }
  });
  const read = () => send(context, entry, { format: formats.value }, failed);
  return h(
    "div",
    { class: "format-row" },
    h("label", {}, h("span", {}, t("correct.format")), formats),
    h("button", { type: "button", onclick: read }, t("correct.as-format")),
    h("label", {}, h("span", {}, t("correct.start")), start),
  );
}

function corrected(edit) {
  const round = (value) => Math.round(100 * value) / 100;
  return {
    page_mm: edit.shown_mm,
    speed_mm_per_s: edit.speed,
    gain_mm_per_mv: edit.gain,
    boxes: edit.boxes.map((box) => ({
      ...box,
      ...Object.fromEntries(EDGES.map((edge) => [edge, round(box[edge])])),
    })),
  };
}

function buttons(entry, context, failed) {
  const { edit, page } = entry;
  const read = () => send(context, entry, { boxes: corrected(edit) }, failed);
  const keep = async () => {
    try {
      save(await api.layout(entry.id, page.page, corrected(edit)), "layout.toml");
      failed.hidden = true;
    } catch (error) {
      say(failed, error);
    }
  };
  const close = () => {
    entry.edit = null;
    context.redraw();
  };
  return h(
    "div",
    { class: "buttons" },
    h("button", { type: "button", class: "primary", onclick: read }, t("correct.read")),
    h("button", { type: "button", onclick: keep }, t("correct.save")),
    h("button", { type: "button", class: "quiet", onclick: close }, t("correct.close")),
  );
}

async function send(context, entry, correction, failed) {
  failed.hidden = true;
  try {
    await context.correct({ page: entry.page.page, ...correction });
  } catch (error) {
    say(failed, error);
  }
}

function say(place, error) {
  const key = `reason.${error.code}`;
  place.textContent = i18n.has(key) ? `${t(key)} (${error.message})` : error.message;
  place.hidden = false;
}
