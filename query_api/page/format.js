// Numbers, sizes, dates and names as the reader's language writes them.

const language = navigator.languages?.length ? [...navigator.languages] : undefined;
const number = new Intl.NumberFormat(language);
const short = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const minute = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const money = new Intl.NumberFormat(language, { style: "currency", currency: "USD", maximumFractionDigits: 4 });
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const STEPS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];

export const count = (value) => number.format(value ?? 0);
export const decimal = (value) => short.format(value ?? 0);
export const usd = (value) => money.format(value ?? 0);
export const date = (value) => (value ? day.format(new Date(value)) : "");
export const time = (value) => (value ? minute.format(new Date(value)) : "");

/** "1 document", "3 documents". */
export const many = (value, one, several = `${one}s`) => `${count(value)} ${value === 1 ? one : several}`;

/** "3 minutes ago". */
export function ago(value) {
  if (!value) return "never";
  let passed = (Date.parse(value) - Date.now()) / 1000;
  for (const [unit, size] of STEPS) {
    if (Math.abs(passed) < size) return relative.format(Math.round(passed), unit);
    passed /= size;
  }
  return time(value);
}

export function seconds(value) {
  if (value < 1) return `${count(Math.round(value * 1000))} ms`;
  if (value < 120) return `${short.format(value)} s`;
  return value < 7200 ? `${count(Math.round(value / 60))} min` : `${short.format(value / 3600)} h`;
}

const KINDS = {
  "application/pdf": "PDF", "text/markdown": "Markdown", "text/plain": "Text", "text/html": "Web page",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "Word",
  "application/vnd.openxmlformats-officedocument.presentationml.presentation": "PowerPoint",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "Excel",
  "application/msword": "Word 97", "application/vnd.ms-excel": "Excel 97", "application/vnd.ms-powerpoint": "PowerPoint 97",
  "application/vnd.oasis.opendocument.text": "OpenDocument text", "message/rfc822": "Mail", "text/csv": "CSV",
};
export const kind = (mime) => KINDS[mime] || (mime || "").replace(/^(application|text)\/(x-|vnd\.)?/, "") || "Text";
