// The words beside the picture: what happened, what was found, and what the picked thing is.
function element(tag, text, cls) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (cls) made.className = cls;
  return made;
}
function fields(title, pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) if (value !== undefined) list.append(element("dt", name), element("dd", String(value)));
  return [element("h2", title), list];
}

// The things that are listed now, to be walked through.
const MOST = 300;
let listed = [], walked = -1;
function list(things) {
  const made = element("ol");
  // Of too many those near the failure are what somebody looks for.
  const near = things.length > MOST ? [...things].sort((a, b) => Math.abs(a.at - failedAt) - Math.abs(b.at - failedAt)).slice(0, MOST) : things;
  listed = near.sort((a, b) => a.at - b.at);
  walked = -1;
  listed.forEach((thing, n) => {
    const item = element("li"), button = element("button", undefined, thing.step !== undefined ? "step" : "");
    if (thing.bad || thing.failed !== undefined || thing.up === false) button.classList.add("bad");
    button.append(element("small", when(thing.at, 1e6)), inWords(thing));
    button.onclick = () => { const from = listed; pick(thing, true); [listed, walked] = [from, n]; };
    item.append(button);
    made.append(item);
  });
  return made;
}
// The last of those before the failure: what somebody asks for first.
function nearest(things) {
  const after = things.findIndex(thing => thing.at > failedAt);
  return after < 0 ? things.length - 1 : Math.max(0, after - 1);
}
function walk(by) {
  if (!listed.length) return;
  const things = listed, next = walked < 0 ? nearest(things) : Math.max(0, Math.min(things.length - 1, walked + by));
  pick(things[next], true);
  [listed, walked] = [things, next];
}

const before = at => at === failedAt || !failures.length ? "" : at < failedAt ? `, ${lasts(failedAt - at)} before the failure` : `, ${lasts(at - failedAt)} after the failure`;
const exactly = at => when(at) + before(at);
function whatItIs(thing) {
  if (thing.step !== undefined) return fields("A step of the scenario", [["what", thing.step], ["when", exactly(thing.at)]]);
  if (thing.failed !== undefined) return fields("The check that failed", [["rule", thing.check], ["what was seen", thing.failed], ["when", when(thing.at)]]);
  if (thing.words !== undefined) return fields("A fault", [["what", thing.words], ["from", exactly(thing.at)], ["until", thing.till === END ? "the end" : exactly(thing.till)]]);
  if (thing.row !== undefined) return [...fields(thing.row, [["state", thing.state || "gone"], ["from", exactly(thing.at)], ["until", thing.till === END ? "the end" : exactly(thing.till)]]), element("h2", "All its states"), list(rows.get(thing.row))];
  if (thing.delays === undefined) return fields(inWords(thing), [["when", exactly(thing.at)]]);
  return aboutMessage(thing);
}
function aboutMessage(m) {
  const arrives = m.lost ? "never: it is lost" : m.delays.map(delay => `${when(m.at + delay)} (after ${lasts(delay)})`).join(", ") + (m.dead ? ", where the node is down" : "");
  const about = fields(`${m.kind} ${m.method}`, [["from", HOSTS[m.from]], ["to", HOSTS[m.to]], ["sent", exactly(m.at)], ["arrives", arrives],
    ["number", m.id], ["class", m.cls], ["bytes", m.bytes], ["trace", m.trace || undefined]]);
  const own = messages.filter(other => other !== m && (other.of === m || (m.of && (other === m.of || other.of === m.of))));
  const caused = m.trace ? messages.filter(other => other !== m && other.trace === m.trace && !own.includes(other)) : [];
  const related = [...own, ...caused];
  return related.length ? [...about, element("h2", "Belongs to it, by its call or its trace"), list(related)] : about;
}
function pick(thing, moves) {
  picked = thing;
  if (moves) near(thing.at);
  const back = element("button", query === "" ? "Back to what happened" : "Back to what was found");
  back.onclick = unpick;
  const end = element("p");
  end.append(back);
  byId("side").replaceChildren(...whatItIs(thing), end);
  byId("side").scrollTop = 0;
  redraw();
}
function unpick() { picked = null; overall(); redraw(); }

function overall() {
  if (query !== "") {
    const states = [...rows.values()].flat(), all = [...steps, ...failures, ...faults, ...lives, ...states, ...notes].filter(thing => found(inWords(thing).toLowerCase()));
    all.push(...messages.filter(m => found(m.text)));
    byId("side").replaceChildren(element("h2", `Found: ${all.length}${all.length > MOST ? `, the ${MOST} nearest to the failure` : ""}`), list(all));
    const items = byId("side").querySelectorAll("li");
    if (items.length) items[nearest(listed)].scrollIntoView({ block: "nearest" });
    return;
  }
  const refused = messages.filter(m => m.refused), named = rowNames.filter(isNamed).flatMap(row => rows.get(row));
  const all = [...steps, ...faults, ...lives, ...named, ...refused, ...failures].sort((a, b) => a.at - b.at);
  const help = element("details");
  help.append(element("summary", "Words and keys"), ...fields("", [
    ["step", "what the scenario has users do, and when"], ["users", "who asks the cloud over REST"],
    ["call", "a message that wants a reply"], ["cast", "a message that wants none"], ["row", "what the database says of a thing"],
    ["repeats", "what is sent at a steady pace, such as beats; hidden at first"], ["trace", "all that one request made happen"],
    ["wheel, drag", "zoom, move"], ["← → + −", "move, zoom"], ["n, p", "next, previous of the list"],
    ["f, Home", "where it failed, everything"], ["/, Escape", "search, let go"]]));
  byId("side").replaceChildren(element("h2", "What happened"), list(all), help);
}
