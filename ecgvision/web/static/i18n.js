// The words of the page: one JSON file a language. A new language is a new file and a line here.

export const LANGUAGES = { en: "English", th: "ไทย" };

let words = {};
let current = "en";

export function language() {
  return current;
}

export function preferred() {
  const asked = new URLSearchParams(location.search).get("lang");
  const known = [asked, remembered(), navigator.language.slice(0, 2)];
  return known.find((one) => one in LANGUAGES) ?? "en";
}

export async function use(code) {
  const response = await fetch(`lang/${code}.json`);
  words = await response.json();
  current = code;
  document.documentElement.lang = code;
  for (const element of document.querySelectorAll("[data-i18n]")) {
    element.textContent = t(element.dataset.i18n);
  }
  try {
    localStorage.setItem("ecgvision-language", code);
  } catch {
    // A browser that stores nothing asks again the next time.
  }
}

export function t(key, values = {}) {
  let text = words[key] ?? key;
  for (const [name, value] of Object.entries(values)) text = text.replaceAll(`{${name}}`, value);
  return text;
}

export function has(key) {
  return key in words;
}

export function number(value, digits = 4) {
  return Number(value).toLocaleString(current, { maximumSignificantDigits: digits });
}

export function percent(share, digits = 0) {
  const options = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
  return share.toLocaleString(current, options);
}

function remembered() {
  try {
    return localStorage.getItem("ecgvision-language");
  } catch {
    return null;
  }
}
