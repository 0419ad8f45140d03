// The run as the page's own values: messages, faults, rows and steps, each with its times in microseconds and the text
// that a search looks at. Nothing here draws.
"use strict";
const { told, run } = /*DATA*/null;
const byId = id => document.getElementById(id);
const WORDS = run.words;

// Users stand outside of the cloud, above its nodes.
const hasUsers = run.asked.length > 0;
const HOSTS = hasUsers ? ["users", ...run.hosts] : run.hosts;
const laneOf = node => node + (hasUsers ? 1 : 0);

// Times.
const digitsFor = span => Math.max(1, Math.min(6, 9 - Math.floor(Math.log10(Math.max(span, 1)))));
const when = (us, span = 1) => (us / 1e6).toFixed(digitsFor(span)) + " s";
const lasts = us => us >= 1e6 ? (us / 1e6).toFixed(2) + " s" : us >= 1e3 ? (us / 1e3).toFixed(1) + " ms" : us + " µs";

// Messages between nodes, and what users ask and are answered.
function messagesOfNodes() {
  let time = 0;
  return run.frames.map(([since, from, to, cls, kind, method, id, bytes, delays, trace]) => ({
    at: time += since, from: laneOf(from), to: laneOf(to), cls: WORDS[cls], kind: WORDS[kind], method: WORDS[method],
    id, bytes, delays, trace: WORDS[trace],
  }));
}
function messagesOfUsers() {
  const asked = run.asked.map(([at, node, number, words]) => ({
    at, from: 0, to: laneOf(node), kind: "Request", method: words, id: number, delays: [0] }));
  const byNumber = new Map(asked.map(request => [request.id, request]));
  const answered = run.answered.map(([at, node, number, words, refused]) => ({
    at, from: laneOf(node), to: 0, kind: "Answer", method: words, id: number, delays: [0], refused, of: byNumber.get(number) }));
  return [...asked, ...answered];
}
function pairReplies(messages) {
  const calls = new Map();
  for (const m of messages) if (m.kind === "Call") calls.set(`${m.from}>${m.to}#${m.id}`, m);
  for (const m of messages) {
    if (m.kind === "Reply") m.of = calls.get(`${m.to}>${m.from}#${m.id}`);
    if (m.kind === "Cancel") m.of = calls.get(`${m.from}>${m.to}#${m.id}`);
    if (m.kind === "Reply" || m.kind === "Cancel") { m.method = m.of ? m.of.method : ""; m.trace = m.of ? m.of.trace : m.trace; }
  }
}

const END = Math.max(run.end, ...run.violated.map(([at]) => at), 1);

// When each node was down.
const down = HOSTS.map(() => []);
for (const [at, node, up] of run.lives) {
  const times = down[laneOf(node)], last = times[times.length - 1];
  if (!up) times.push([at, END]); else if (last && last[1] === END) last[1] = at;
}
const isDown = (host, at) => down[host].some(([from, till]) => from <= at && at < till);

// What comes again and again at the same pace, such as beats, says nothing that happens.
function isSteady(times) {
  if (times.length < 5) return false;
  const gaps = times.slice(1).map((at, n) => at - times[n]).sort((a, b) => a - b), middle = gaps[gaps.length >> 1];
  return middle > 1e5 && gaps.filter(gap => Math.abs(gap - middle) < middle / 4).length > gaps.length * .7;
}
function markRepeats(messages) {
  const groups = new Map();
  for (const m of messages) if (m.kind === "Call" || m.kind === "Cast") {
    const key = `${m.from}>${m.to} ${m.method}`;
    groups.has(key) ? groups.get(key).push(m) : groups.set(key, [m]);
  }
  for (const group of groups.values()) if (isSteady(group.map(m => m.at))) for (const m of group) m.repeats = true;
  for (const m of messages) if (m.of && m.of.repeats) m.repeats = true;
}

// A message that is lost is drawn for so long, in microseconds.
const LOST_FOR = 3000;
function complete(m) {
  m.lost = !m.delays.length;
  m.dead = !m.lost && m.delays.every(delay => isDown(m.to, m.at + delay));
  m.bad = m.lost || m.dead || m.refused;
  m.till = m.at + (m.lost ? LOST_FOR : Math.max(...m.delays));
  const fate = m.lost ? "lost" : m.dead ? "dead" : m.delays.length > 1 ? "twice" : "";
  m.text = [m.kind, m.method, HOSTS[m.from], HOSTS[m.to], fate].join(" ").toLowerCase();
}
const messages = [...messagesOfNodes(), ...messagesOfUsers()].sort((a, b) => a.at - b.at);
pairReplies(messages);
markRepeats(messages);
messages.forEach(complete);
let longest = 0;
for (const m of messages) longest = Math.max(longest, m.till - m.at);

// Faults as bands, on tracks so that those at the same time do not hide one another; one that does not end lasts to the end.
const faults = [];
for (const [at, begins, words] of run.faults) {
  if (begins) { faults.push({ at, till: END, words }); continue; }
  const open = faults.findLast(fault => fault.words === words && fault.till === END);
  if (open) open.till = at;
}
for (const [at, line] of run.notes) { // cuts by hand, which may be mended and made again
  if (/^(partition|cut) /.test(line)) {
    const same = faults.findLast(fault => fault.byHand && fault.words === line);
    if (same && same.till >= at) same.till = END; else faults.push({ at, till: END, words: line, byHand: true });
  }
  if (line === "heal") for (const fault of faults) if (fault.byHand && fault.till === END) fault.till = at;
}
faults.sort((a, b) => a.at - b.at);
const tracks = [];
for (const fault of faults) {
  const free = tracks.findIndex(end => end <= fault.at);
  fault.track = free < 0 ? tracks.length : free;
  tracks[fault.track] = fault.till;
}

// Rows as bands of states.
const rows = new Map();
for (const [at, key, state] of run.rows) {
  const name = WORDS[key];
  if (!rows.has(name)) rows.set(name, []);
  const states = rows.get(name), last = states[states.length - 1];
  if (last) last.till = at;
  states.push({ at, till: END, row: name, state: WORDS[state] });
}
const whyText = `${told.check} ${told.why}`.toLowerCase();
const isNamed = row => { const id = row.split(" ")[1]; return Boolean(id) && whyText.includes(id.toLowerCase()); };
const rowNames = [...rows.keys()].sort((a, b) => isNamed(b) - isNamed(a));
const shortRow = row => { const [kind, id] = row.split(" "); return `${kind} ${id.length > 12 ? id.slice(0, 8) : id}`; };

const steps = run.steps.map(([at, words]) => ({ at, step: words }));
const failures = run.violated.map(([at, check, words]) => ({ at, check, failed: words }));
const failedAt = failures.length ? failures[0].at : END;

// Anything in a line of words.
function inWords(thing) {
  if (thing.step !== undefined) return `step: ${thing.step}`;
  if (thing.failed !== undefined) return `the check failed: ${thing.check}: ${thing.failed}`;
  if (thing.words !== undefined) return `fault: ${thing.words}`;
  if (thing.row !== undefined) return `${thing.row} ${thing.state ? "is " + thing.state : "is gone"}`;
  if (thing.host !== undefined) return `${HOSTS[thing.host]} ${thing.up ? "starts" : "crashes"}`;
  if (thing.note !== undefined) return thing.note;
  const fate = thing.lost ? ", lost" : thing.dead ? ", to a node that is down" : thing.delays.length > 1 ? ", arrives twice" : "";
  return `${thing.kind} ${thing.method} ${HOSTS[thing.from]} → ${HOSTS[thing.to]}${fate}`;
}
const lives = run.lives.filter(([at]) => at > 0).map(([at, node, up]) => ({ at, host: laneOf(node), up }));
const notes = run.notes.map(([at, note]) => ({ at, note }));
