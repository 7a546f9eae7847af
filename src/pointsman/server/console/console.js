// Shows decisions as they are made: asks for a key, polls the server that sent this page, and fills the table.
// What comes from the server is only ever put in as text, never as markup.

const POLL = 1_000; // milliseconds, like all times here
const LONGEST_WAIT = 15_000;
const SUMMARY_EVERY = 5_000;
const PATIENCE = 10_000;
const ASKED_ROWS = 50;
const MOST_ROWS = 200;
const KEY_PLACE = "pointsman.key";

const STATUS_WORDS = {
  ok: "The answer came whole.",
  broken: "The answer began and broke off: its reader was told that it is not whole.",
  failed: "No answer came.",
  cancelled: "The reader left before the end.",
};

const byId = (id) => document.getElementById(id);
const table = document.querySelector("table");

/** The decisions on the page, by the id of their attempt. */
let shown = new Map();
/** Ends what is under way when the key is given up. */
let session = new AbortController();

class KeyRefused extends Error {}
class ServerAway extends Error {}

function start() {
  byId("origin").textContent = location.origin;
  document.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(byId("key").value.trim());
  });
  byId("forget").addEventListener("click", () => leave(""));
  byId("close").addEventListener("click", () => byId("decision").close());
  byId("rows").addEventListener("click", (event) => openDecision(event.target.closest("tr")?.dataset.id));
  const key = sessionStorage.getItem(KEY_PLACE);
  if (key) enter(key);
  else leave("");
}

function enter(key) {
  const refusal = "A key has only letters, digits and signs, without spaces. Was it copied whole?";
  if (!/^[\x21-\x7e]+$/.test(key)) return leave(refusal);
  session = new AbortController();
  byId("key").value = "";
  byId("refusal").textContent = "";
  byId("door").hidden = true;
  byId("forget").hidden = false;
  watch(key, session.signal);
}

function leave(reason) {
  session.abort();
  sessionStorage.removeItem(KEY_PLACE);
  shown = new Map();
  byId("rows").replaceChildren();
  byId("decision").close();
  byId("box").hidden = true;
  byId("forget").hidden = true;
  byId("refusal").textContent = reason;
  byId("door").hidden = false;
  byId("key").focus();
  say("closed", "");
}

/** Polls until the key is given up or refused. */
async function watch(key, signal) {
  const summary = { isStale: true, day: "", made: 0 };
  let failures = 0;
  say("waiting", "Connecting …");
  while (!signal.aborted) {
    await whileHidden(signal);
    try {
      await look(key, signal, summary);
      failures = 0;
      say("live", "Live");
      await pause(POLL);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof KeyRefused) return leave(error.message);
      if (!(error instanceof ServerAway)) throw error;
      const wait = Math.min(POLL * 2 ** failures++, LONGEST_WAIT);
      say("away", `${error.message} Next try in ${wait / 1000} s.`);
      await pause(wait);
    }
  }
}

async function look(key, signal, summary) {
  const decisions = await get(`api/decisions?limit=${ASKED_ROWS}`, key, signal);
  signal.throwIfAborted();
  sessionStorage.setItem(KEY_PLACE, key);
  summary.isStale = showDecisions(decisions) || summary.isStale;
  byId("box").hidden = false;
  const now = Date.now();
  const day = new Date(new Date(now).setHours(0, 0, 0, 0)).toISOString();
  if (day === summary.day && !(summary.isStale && now - summary.made >= SUMMARY_EVERY)) return;
  await showToday(day, key, signal);
  Object.assign(summary, { isStale: false, day, made: now });
}

/** The `data` of an answer of the API. Throws KeyRefused, or ServerAway for everything that may pass. */
async function get(path, key, signal) {
  const options = {
    headers: { Authorization: `Bearer ${key}` },
    cache: "no-store",
    signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]),
  };
  const answer = await fetch(path, options).catch(() => {
    throw new ServerAway("The server does not answer.");
  });
  const body = await answer.json().catch(() => null);
  const message = body?.error?.message;
  if (answer.status === 401 || answer.status === 403) throw new KeyRefused(message ?? "This key was refused.");
  if (!body?.success) throw new ServerAway(message ?? `The server gave no usable answer (${answer.status}).`);
  return body.data;
}

function whileHidden(signal) {
  if (!document.hidden) return null;
  say("paused", "Paused");
  return new Promise((resume) => {
    document.addEventListener("visibilitychange", resume, { once: true, signal });
  });
}

/** The state of the connection, told only when it changes: a screen reader speaks each time. */
function say(state, text) {
  const line = byId("line");
  line.dataset.state = state;
  if (line.textContent !== text) line.textContent = text;
}

/** Adds rows that are new in their place and drops the oldest; says whether anything changed. Rows that stay are not
 * touched, so focus, selection and scroll position stay too. An entry is final: it never changes. */
function showDecisions(decisions) {
  const fresh = decisions.filter((decision) => !shown.has(decision.id));
  const isFirst = shown.size === 0;
  table.hidden = decisions.length === 0;
  byId("empty").hidden = decisions.length > 0;
  if (fresh.length === 0) return false;
  const latest = [...fresh, ...shown.values()].sort((a, b) => b.at - a.at).slice(0, MOST_ROWS);
  const kept = new Map(latest.map((decision) => [decision.id, decision]));
  for (const row of [...byId("rows").children]) if (!kept.has(row.dataset.id)) row.remove();
  latest.forEach((decision, index) => {
    if (shown.has(decision.id)) return;
    const row = decisionRow(decision);
    row.classList.toggle("new", !isFirst);
    byId("rows").insertBefore(row, byId("rows").children[index] ?? null);
  });
  shown = kept;
  byId("extent").textContent = `newest first, ${shown.size} on this page`;
  return true;
}

function decisionRow(decision) {
  const open = element("button", { type: "button", "aria-haspopup": "dialog" }, decision.model || "(no model)");
  return element(
    "tr",
    { role: "row", "data-id": decision.id },
    cell("Time", "time", clockTime(decision.at)),
    cell("Model", "model", open, " ", badge(decision)),
    cell("Task", "task", decision.task || "–", " ", element("span", { class: "quiet" }, decision.complexity)),
    cell("Status", "status", ...statusMark(decision)),
    cell("First token", "number", duration(decision.ttft_ms)),
    cell("Total", "number", duration(decision.ms)),
    cell("Tokens in → out", "number", tokens(decision)),
    cell("Cost", "number", money(decision.cost_usd)),
    cell("Saved", "number", saving(decision)),
  );
}

function cell(label, kind, ...children) {
  return element("td", { role: "cell", class: kind, "data-label": label }, ...children);
}

/** Where the model stands, and who pays. */
function badge({ deployment }) {
  const known = ["local", "free", "paid"].includes(deployment);
  return known ? element("span", { class: `badge ${deployment}` }, deployment) : "";
}

function statusMark({ status, error }) {
  const arm = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  arm.setAttribute("aria-hidden", "true");
  arm.append(document.createElementNS(arm.namespaceURI, "use"));
  arm.firstChild.setAttribute("href", `#signal-${status}`);
  const mark = element("span", { class: `signal ${status}` }, arm, status);
  return error ? [mark, " ", element("span", { class: "quiet" }, error)] : [mark];
}

function openDecision(id) {
  const decision = shown.get(id);
  if (!decision) return;
  byId("decision-title").textContent = decision.model || "(no model)";
  byId("outcome").replaceChildren(...statusMark(decision), " ", STATUS_WORDS[decision.status] ?? "");
  byId("facts").replaceChildren(...facts(decision));
  byId("weighed").replaceChildren(...weighed(decision));
  byId("decision").showModal();
  byId("decision").scrollTop = 0;
}

function facts(decision) {
  const told = [
    ["Time", new Date(decision.at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" })],
    ["Task", [decision.task, decision.complexity].filter(Boolean).join(", ")],
    ["Policy", decision.policy],
    ["Strategy", decision.strategy],
    ["Endpoint", decision.endpoint],
    ["First token", duration(decision.ttft_ms)],
    ["Total", duration(decision.ms)],
    ["Tokens in → out", tokens(decision) + (decision.estimated ? " (estimated)" : "")],
    ["Cost", money(decision.cost_usd)],
    ["At list price", money(decision.list_cost_usd)],
    ["Decision id", decision.decision],
    ["Call id", decision.call],
    ["Attempt id", decision.id],
  ].filter(([, value]) => value);
  return told.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
}

function weighed(decision) {
  if (!decision.decision) return [element("p", {}, "Nothing: the call named its model, so there was no choice.")];
  const candidates = candidatesOf(decision);
  const rejected = candidates.filter((candidate) => candidate.rejected);
  if (candidates.length === 0) {
    return [element("p", {}, "A fallback: what was weighed is kept with the first attempt, which is not shown here.")];
  }
  const plan = candidates.filter((candidate) => !candidate.rejected).map((each) => planned(each, decision.model));
  if (rejected.length === 0) return [element("ol", {}, ...plan)];
  const reasons = rejected.map(({ model, rejected: reason }) =>
    element("li", {}, element("span", { class: "name" }, model), " ", element("span", {}, reason)),
  );
  const title = element("h3", {}, `Passed over (${rejected.length})`);
  return [element("ol", {}, ...plan), title, element("ul", {}, ...reasons)];
}

/** A fallback's entry holds none of its own: those of its decision stand in the call's first attempt. */
function candidatesOf({ decision, candidates }) {
  if (candidates.length > 0) return candidates;
  return [...shown.values()].find((each) => each.decision === decision && each.candidates.length > 0)?.candidates ?? [];
}

function planned({ model, score, probability }, served) {
  const bar = element("meter", { value: probability, "aria-label": "probability" });
  const mark = model === served ? element("span", { class: "badge" }, "this attempt") : "";
  return element(
    "li",
    {},
    element("span", { class: "name" }, model, " ", mark),
    element("span", { class: "number" }, score === null ? "no score" : `score ${score.toFixed(3)}`),
    element("span", { class: "number" }, bar, " ", share(probability)),
  );
}

async function showToday(midnight, key, signal) {
  const since = encodeURIComponent(midnight);
  // By key, since a call has exactly one: by model, a call with a fallback would be counted twice.
  const [byKey, byDeployment, byModel] = await Promise.all([
    get(`api/costs?by=key&since=${since}`, key, signal),
    get(`api/costs?by=deployment&since=${since}`, key, signal),
    get(`api/performance/metrics?since=${since}`, key, signal),
  ]);
  signal.throwIfAborted();
  const attempts = sum(byKey, "attempts");
  tell("calls", count(sum(byKey, "calls")), `attempts: ${count(attempts)}`);
  tell("cost", ...costToday(sum(byKey, "cost"), sum(byKey, "list_cost"), sum(byKey, "unknown_costs"), attempts));
  const local = sum(byDeployment.filter((row) => row.group === "local"), "ok");
  tellShare("local", local, sum(byDeployment, "ok"), "answers", "");
  const cancelled = sum(byModel, "cancelled");
  const leftOut = cancelled ? `; ${count(cancelled)} cancelled left out` : "";
  tellShare("success", sum(byModel, "ok"), sum(byModel, "requests") - cancelled, "attempts", leftOut);
}

function tellShare(id, part, whole, nouns, note) {
  if (whole === 0) tell(id, "–", `no ${nouns} yet${note}`);
  else tell(id, share(part / whole), `${count(part)} of ${count(whole)} ${nouns}${note}`);
}

function costToday(cost, listCost, unknown, attempts) {
  const listed = listCost > 0 ? `≈\u00a0${money(listCost)} at list price` : "";
  if (!unknown) return [money(cost), listed];
  const note = `attempts of unknown cost: ${count(unknown)}`;
  return [unknown === attempts ? "unknown" : `≥\u00a0${money(cost)}`, [note, listed].filter(Boolean).join("; ")];
}

function tell(id, value, note) {
  byId(id).textContent = value;
  byId(`${id}-note`).textContent = note;
}

/** US dollars, as a decimal string or a number, as the command line shows them: under a cent two significant digits. */
function money(usd) {
  if (usd === null) return "unknown";
  const amount = Number(usd);
  const sign = amount < 0 ? "-$" : "$";
  const size = Math.abs(amount);
  if (size === 0) return "$0";
  if (size >= 0.01) return sign + size.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return sign + size.toFixed(1 - Math.floor(Math.log10(size)));
}

function saving({ cost_usd: cost, list_cost_usd: listCost }) {
  if (cost === null || listCost === null) return "–";
  const saved = Number(listCost) - Number(cost);
  return saved > 0 ? `≈\u00a0${money(saved)}` : "–";
}

function tokens({ input_tokens: input, output_tokens: output, estimated }) {
  if (input === null || output === null) return "unknown";
  return `${estimated ? "≈ " : ""}${count(input)} → ${count(output)}`;
}

function duration(milliseconds) {
  if (milliseconds === null) return "–";
  if (milliseconds < 1000) return `${Number(milliseconds.toPrecision(3))} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toPrecision(3)} s`;
  return `${Math.floor(milliseconds / 60_000)} min ${Math.floor(milliseconds / 1000) % 60} s`;
}

function clockTime(seconds) {
  const moment = new Date(seconds * 1000);
  const isToday = moment.toDateString() === new Date().toDateString();
  const style = isToday ? { timeStyle: "medium" } : { dateStyle: "short", timeStyle: "short" };
  return moment.toLocaleString(undefined, style);
}

/** An element with attributes and children; a child that is a string becomes text. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

const pause = (milliseconds) => new Promise((resume) => setTimeout(resume, milliseconds));
const sum = (rows, field) => rows.reduce((total, row) => total + Number(row[field]), 0);
const count = (number) => number.toLocaleString("en");
/** Rounded down: what is not all must not read as 100%. */
const share = (part) => `${Math.floor(part * 1000 + 1e-9) / 10}%`;

start();
