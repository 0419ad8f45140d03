// The picture: time to the right; steps, faults, nodes and rows beneath one another. Owns what part of the run is in view.
const LEFT = 150, RIGHT = 8, TOP = 24, BAND = 16, ROW = 18;
const LANE = Math.max(26, Math.min(56, 330 / HOSTS.length));
const MOST_LATE = 2e6; // how far back is looked for messages that are still under way
let from = 0, till = END, picked = null, hover = null, query = "", hide = "repeats";

let C;
function takeColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["bg", "ink", "soft", "line", "panel", "bad", "fault", "call", "cast", "reply", "user", "other"];
  C = Object.fromEntries(names.map(name => [name, style.getPropertyValue("--" + name).trim()]));
}
const KINDS = { Call: "call", Cast: "cast", Reply: "reply", Request: "user", Answer: "user" };
const colourOf = m => m.bad ? C.bad : C[KINDS[m.kind] || "other"];
function stateColour(state) {
  if (/error|fail|lost/i.test(state)) return C.bad;
  let hash = 0;
  for (const letter of state.toLowerCase().split(/[ ,]/)[0]) hash = (hash * 31 + letter.charCodeAt(0)) % 360;
  return `hsl(${90 + hash * 210 / 360} 42% 50%)`;
}

const found = text => query.split(/\s+/).every(word => text.includes(word));
const isShown = m => {
  if (m === picked || (picked && (m.of === picked || picked.of === m))) return true;
  if (hide === "repeats") return !m.repeats || (query !== "" && found(m.text));
  if (hide === "bad") return m.bad;
  return hide !== "hits" || query === "" || found(m.text);
};

// Where things stand. Rows that do not change in view are told by their number.
let shownRows = [];
const faultsY = () => TOP + (steps.length ? BAND : 0);
const laneY = host => faultsY() + tracks.length * BAND + 10 + LANE * (host + .5);
const rowsY = () => laneY(HOSTS.length - 1) + LANE / 2 + 26;
const bottom = () => rowsY() + (shownRows.length + 1) * ROW + 12;
const X = (at, width) => LEFT + (at - from) / (till - from) * (width - LEFT - RIGHT);
const timeAt = (x, width) => from + (x - LEFT) / (width - LEFT - RIGHT) * (till - from);
const changesInView = row => rows.get(row).some(state => from <= state.at && state.at <= till);

function canvas(element, height) {
  const ratio = devicePixelRatio || 1, width = element.clientWidth;
  if (height) element.style.height = height + "px";
  const tall = element.clientHeight, g = element.getContext("2d");
  [element.width, element.height] = [width * ratio, tall * ratio];
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, tall);
  g.font = "12px system-ui, sans-serif";
  return [g, width, tall];
}
function clipped(g, text, width) {
  if (width < 14) return "";
  if (g.measureText(text).width <= width) return text;
  let length = Math.floor(width / 5);
  while (length > 1 && g.measureText(text.slice(0, length) + "…").width > width) length--;
  return length > 1 ? text.slice(0, length) + "…" : "";
}
// A text that stays readable on lines, and inside the picture.
function label(g, text, x, y, width, colour = C.ink) {
  const wide = g.measureText(text).width, left = Math.max(LEFT + 2, Math.min(x, width - wide - 4));
  [g.strokeStyle, g.lineWidth] = [C.bg, 4];
  g.strokeText(text, left, y);
  g.fillStyle = colour;
  g.fillText(text, left, y);
  g.lineWidth = 1;
}
function line(g, x1, y1, x2, y2) { g.beginPath(); g.moveTo(x1, y1); g.lineTo(x2, y2); g.stroke(); }

function firstFrom(at) {
  let low = 0, high = messages.length;
  while (low < high) { const middle = low + high >> 1; if (messages[middle].at < at) low = middle + 1; else high = middle; }
  return low;
}
function inView() {
  const all = [];
  for (let n = firstFrom(from - Math.min(longest, MOST_LATE)); n < messages.length && messages[n].at <= till; n++) {
    if (messages[n].till >= from && isShown(messages[n])) all.push(messages[n]);
  }
  return all;
}

// What was drawn where, to be found again under the pointer: [thing, x1, y1, x2, y2], and bands as [thing, left, top, right].
let arrows = [], bands = [];
function draw() {
  takeColours();
  shownRows = rowNames.filter(row => isNamed(row) || changesInView(row) || (picked && picked.row === row));
  const [g, width] = canvas(byId("lanes"), bottom());
  [arrows, bands] = [[], []];
  drawTime(g, width);
  g.save();
  g.beginPath(); g.rect(LEFT, 0, width, bottom()); g.clip();
  drawFaults(g, width);
  drawHosts(g, width);
  const all = inView();
  drawMessages(g, width, all);
  drawRows(g, width);
  drawSteps(g, width);
  drawFailures(g, width);
  g.restore();
  drawNames(g);
  byId("range").textContent = `${when(from, till - from)} to ${when(till, till - from)}, ${all.length} messages`;
  drawOverview();
}
function drawTime(g, width) {
  const span = till - from, rough = span / Math.max(2, (width - LEFT) / 120), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(k => k * power).find(size => size >= rough);
  [g.strokeStyle, g.fillStyle, g.textAlign] = [C.line, C.soft, "center"];
  for (let at = Math.ceil(from / step) * step; at <= till; at += step) {
    const x = X(at, width);
    line(g, x, TOP - 6, x, bottom());
    g.fillText(when(Math.round(at), span), Math.min(x, width - 34), 13);
  }
  g.textAlign = "left";
  if (hover) line(g, hover.x, TOP, hover.x, bottom());
}
function band(g, thing, y, width, colour, words, alpha) {
  if (thing.till < from || thing.at > till) return;
  const left = Math.max(LEFT, X(thing.at, width)), right = Math.max(left + 3, X(thing.till, width));
  [g.globalAlpha, g.fillStyle] = [picked === thing ? .95 : alpha, colour];
  g.fillRect(left, y, right - left - 1, BAND - 2);
  [g.globalAlpha, g.fillStyle] = [1, C.ink];
  g.fillText(clipped(g, words, right - left - 6), left + 3, y + 11);
  bands.push([thing, left, y, Math.max(right, left + 6)]);
}
function drawFaults(g, width) {
  for (const fault of faults) {
    const y = faultsY() + fault.track * BAND, left = Math.max(LEFT, X(fault.at, width));
    [g.globalAlpha, g.fillStyle] = [.05, C.fault];
    if (fault.till >= from && fault.at <= till) g.fillRect(left, y, Math.max(3, X(fault.till, width) - left), rowsY() - y - 20);
    band(g, fault, y, width, C.fault, fault.words, .45);
  }
}
function drawHosts(g, width) {
  HOSTS.forEach((_, host) => {
    const y = laneY(host);
    [g.strokeStyle, g.lineWidth] = [C.line, 1.5];
    line(g, LEFT, y, width, y);
    for (const [start, end] of down[host]) {
      const left = Math.max(LEFT, X(start, width)), right = X(end, width);
      if (right < LEFT || left > width) continue;
      [g.globalAlpha, g.fillStyle] = [.25, C.bad];
      g.fillRect(left, y - 9, right - left, 18);
      g.globalAlpha = 1;
      g.fillText(clipped(g, "down", right - left - 6), left + 3, y + 4);
    }
  });
}
function drawMessages(g, width, all) {
  const many = all.length > 4000, seen = new Set(), labels = [];
  const isHot = m => m === picked || (picked && (m.of === picked || (picked.of && picked.of === m)));
  const isHit = m => query === "" || found(m.text);
  for (const first of [true, false]) for (const m of all) {
    const hot = isHot(m), hit = isHit(m), above = hot || m.bad || (query !== "" && hit);
    if (above === first) continue;
    [g.strokeStyle, g.lineWidth] = [colourOf(m), hot ? 2.5 : m.refused ? 2 : 1];
    g.globalAlpha = hot ? 1 : !hit ? .08 : many ? .3 : .75;
    g.setLineDash(m.kind === "Reply" || m.kind === "Answer" ? [4, 3] : []);
    arrow(g, m, width, { hot, hit, seen, heads: !many || hot });
    if (m === picked || (all.length < 40 && m.kind !== "Reply" && hit)) labels.push(m);
  }
  g.setLineDash([]);
  g.globalAlpha = 1;
  drawLabels(g, width, labels);
}
function arrow(g, m, width, { hot, hit, seen, heads }) {
  const x1 = X(m.at, width), y1 = laneY(m.from), ends = m.lost ? [Math.max(x1 + 6, X(m.at + LOST_FOR, width))] : m.delays.map(delay => X(m.at + delay, width));
  for (const x2 of ends) {
    if (x2 < LEFT || x1 > width) continue;
    const key = [Math.round(x1), Math.round(x2), m.from, m.to, m.kind, m.bad, hit].join();
    if (!hot && seen.has(key)) continue; // what overlaps to the pixel is drawn once
    seen.add(key);
    if (m.from === m.to) { toItself(g, m, x1, y1); continue; }
    const y2 = m.lost ? (y1 + laneY(m.to)) / 2 : laneY(m.to);
    line(g, x1, y1, x2, y2);
    arrows.push([m, x1, y1, x2, y2]);
    if (m.lost || m.dead) cross(g, x2, y2); else if (heads) head(g, x1, y1, x2, y2);
  }
}
function toItself(g, m, x, y) {
  const side = m.kind === "Reply" ? 5 : -5; // a call above its line, the reply beneath it
  g.beginPath(); g.arc(x, y + side, 3, 0, 7); g.stroke();
  arrows.push([m, x, y + side - 3, x, y + side + 3]);
}
function cross(g, x, y) { line(g, x - 4, y - 4, x + 4, y + 4); line(g, x + 4, y - 4, x - 4, y + 4); }
function head(g, x1, y1, x2, y2) {
  const angle = Math.atan2(y2 - y1, x2 - x1), side = turn => [x2 - 7 * Math.cos(angle + turn), y2 - 7 * Math.sin(angle + turn)];
  g.fillStyle = g.strokeStyle;
  g.beginPath(); g.moveTo(x2, y2); g.lineTo(...side(-.4)); g.lineTo(...side(.4)); g.fill();
}
// Where labels would lie on one another, the later one is left out; a picked message has its own in any case.
function drawLabels(g, width, labelled) {
  const taken = [];
  labelled.sort((a, b) => (b === picked) - (a === picked));
  for (const m of labelled) {
    const x = Math.max(LEFT, (X(m.at, width) + X(m.till, width)) / 2 + 6), y = (laneY(m.from) + laneY(m.to)) / 2 + 4;
    const text = clipped(g, `${m.kind} ${m.method}`, 300), wide = g.measureText(text).width;
    if (taken.some(([left, right, high]) => Math.abs(high - y) < 14 && left < x + wide && x < right)) continue;
    taken.push([x, x + wide, y]);
    label(g, text, x, y, width);
  }
}
function drawRows(g, width) {
  shownRows.forEach((row, n) => {
    const y = rowsY() + n * ROW;
    for (const state of rows.get(row)) {
      const hit = query === "" || found(`${row} ${state.state}`.toLowerCase());
      if (state.state) band(g, state, y, width, stateColour(state.state), state.state, hit ? .55 : .2);
    }
  });
}
function drawSteps(g, width) {
  let free = LEFT;
  for (const step of steps) {
    const x = X(step.at, width);
    if (step.at < from || step.at > till) continue;
    g.strokeStyle = C.soft;
    g.setLineDash([2, 4]); line(g, x, TOP, x, rowsY() - 20); g.setLineDash([]);
    [g.fillStyle, g.globalAlpha] = [C.ink, picked === step ? 1 : .8];
    g.beginPath(); g.moveTo(x, TOP); g.lineTo(x + 7, TOP + 5); g.lineTo(x, TOP + 10); g.fill();
    g.globalAlpha = 1;
    if (x + 8 >= free) {
      const text = clipped(g, step.step, Math.min(260, width - x - 14));
      label(g, text, x + 10, TOP + 10, width);
      free = x + 22 + g.measureText(text).width;
    }
    bands.push([step, x - 3, TOP - 2, x + 9]);
  }
}
function drawFailures(g, width) {
  for (const failure of failures) {
    const x = X(failure.at, width), text = "the check failed here", right = x > width - g.measureText(text).width - 12;
    if (failure.at < from || failure.at > till) continue;
    [g.strokeStyle, g.lineWidth] = [C.bad, 2];
    g.setLineDash([5, 3]); line(g, x, TOP - 4, x, bottom()); g.setLineDash([]);
    label(g, text, right ? x - g.measureText(text).width - 6 : x + 6, rowsY() - 8, width, C.bad);
    bands.push([failure, x - 4, TOP - 4, x + 4, bottom()]);
  }
}
function drawNames(g) {
  g.fillStyle = C.soft;
  if (steps.length) g.fillText("steps", 10, TOP + 10);
  if (tracks.length) g.fillText("faults", 10, faultsY() + 11);
  if (rowNames.length) g.fillText("rows", 10, rowsY() - 8);
  HOSTS.forEach((name, host) => {
    g.fillStyle = query !== "" && found(name.toLowerCase()) ? C.call : C.ink;
    g.fillText(clipped(g, name, LEFT - 18), 10, laneY(host) + 4);
  });
  shownRows.forEach((row, n) => {
    g.fillStyle = isNamed(row) ? C.bad : C.ink;
    g.fillText(shortRow(row), 10, rowsY() + n * ROW + 11);
  });
  const rest = rowNames.length - shownRows.length;
  g.fillStyle = C.soft;
  if (rest) g.fillText(`${rest} rows that do not change in this time are not shown`, LEFT, rowsY() + shownRows.length * ROW + 11);
}
function drawOverview() {
  const [g, width, tall] = canvas(byId("over")), at = time => Math.min(width - 1, Math.floor(time / END * width));
  const count = new Uint32Array(width), bad = new Uint32Array(width);
  for (const m of messages) if (isShown(m)) { count[at(m.at)]++; if (m.bad) bad[at(m.at)]++; }
  const most = count.reduce((a, b) => Math.max(a, b), 1);
  [g.globalAlpha, g.fillStyle] = [.25, C.fault];
  for (const fault of faults) g.fillRect(at(fault.at), 0, Math.max(1, at(fault.till) - at(fault.at)), tall);
  g.globalAlpha = 1;
  count.forEach((number, x) => {
    const high = Math.sqrt(number / most) * (tall - 8);
    g.fillStyle = C.other; g.fillRect(x, tall - high, 1, high);
    if (bad[x]) { g.fillStyle = C.bad; g.fillRect(x, tall - Math.max(3, high * bad[x] / number), 1, tall); }
  });
  g.fillStyle = C.ink;
  for (const step of steps) g.fillRect(at(step.at), 0, 1, 5);
  g.fillStyle = C.bad;
  for (const failure of failures) g.fillRect(Math.min(at(failure.at), width - 4), 0, 4, tall);
  const left = from / END * width, right = Math.max(left + 3, till / END * width);
  [g.globalAlpha, g.fillStyle] = [.12, C.ink];
  g.fillRect(left, 0, right - left, tall);
  [g.globalAlpha, g.strokeStyle] = [1, C.ink];
  g.strokeRect(left + .5, .5, right - left - 1, tall - 1);
}
let isAsked = false;
function redraw() { if (!isAsked) { isAsked = true; requestAnimationFrame(() => { isAsked = false; draw(); }); } }
function show(start, end) {
  const last = END * 1.02, span = Math.max(50, Math.min(end - start, last));
  from = Math.max(0, Math.min(start, last - span));
  till = from + span;
  redraw();
}
// What somebody looks at stays where it is.
function centre() {
  const at = picked ? picked.at : failedAt;
  return from <= at && at <= till ? at : (from + till) / 2;
}
function zoom(factor, at = centre()) { show(at - (at - from) * factor, at + (till - at) * factor); }
function near(at, span = Math.min(till - from, END / 20)) { show(at - span / 2, at + span / 2); }
function whereItFailed() { const span = Math.min(END, Math.max(1e6, END / 12)); show(failedAt - span * .85, failedAt + span * .15); }
