// Mouse, touch and keys; and the first look.
const L = byId("lanes"), O = byId("over");
function place(event, canvas) { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top, box.width]; }

// What is under the pointer.
function thingAt(x, y) {
  const around = bands.filter(([, left, top, right, low = top + BAND]) => left <= x && x <= right && top <= y && y <= low);
  const isFailure = ([thing]) => thing.failed !== undefined;
  const band = around.findLast(found => !isFailure(found));
  if (band) return band[0];
  // Where a check failed there are often the messages that are to blame, so they go first.
  let best = null, least = 8;
  for (const [thing, x1, y1, x2, y2] of arrows) {
    const dx = x2 - x1, dy = y2 - y1, along = Math.max(0, Math.min(1, ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy || 1)));
    const far = Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
    if (far < least) [best, least] = [thing, far];
  }
  return best || (around.find(isFailure) || [null])[0];
}
function search(words) {
  query = words.trim().toLowerCase();
  picked = null;
  byId("hide").querySelector("[value=hits]").disabled = query === "";
  if (query === "" && hide === "hits") byId("hide").value = hide = "repeats";
  overall();
  redraw();
}
function searchFor(words) { byId("find").value = words; search(words); }

let held = null;
L.onpointerdown = event => { const [x, , width] = place(event, L); held = { x, from, till, width, moved: 0 }; L.setPointerCapture(event.pointerId); };
L.onpointermove = event => {
  const [x, y, width] = place(event, L);
  hover = x > LEFT ? { x, y } : null;
  if (held) {
    held.moved = Math.max(held.moved, Math.abs(x - held.x));
    const by = (held.x - x) / (width - LEFT - RIGHT) * (held.till - held.from);
    if (held.moved > 3) show(held.from + by, held.till + by);
  }
  tell(x, y, width);
  redraw();
};
function tell(x, y, width) {
  const tip = byId("tip"), thing = held ? null : thingAt(x, y);
  tip.hidden = !hover || held !== null;
  tip.textContent = when(thing ? thing.at : timeAt(x, width), till - from) + (thing ? ` · ${inWords(thing)}` : "");
  tip.style.left = `${Math.min(x + 14, width - 200)}px`;
  const seen = byId("wrap"), low = seen.scrollTop + seen.clientHeight;
  tip.style.top = `${y + 20 + tip.offsetHeight > low ? y - tip.offsetHeight - 8 : y + 16}px`;
}
L.onpointerup = event => {
  const was = held;
  held = null;
  if (!was || was.moved > 6) return;
  const [x, y] = place(event, L);
  if (x < LEFT) return named(y);
  const thing = thingAt(x, y);
  if (thing) pick(thing); else unpick();
};
// A click on a name looks for it.
function named(y) {
  const host = HOSTS.findIndex((_, host) => Math.abs(laneY(host) - y) < LANE / 2);
  const row = shownRows[Math.floor((y - rowsY()) / ROW)];
  if (host >= 0) searchFor(HOSTS[host]); else if (y > rowsY() && row) searchFor(row);
}
L.onpointerleave = () => { hover = null; byId("tip").hidden = true; redraw(); };
L.addEventListener("wheel", event => {
  const [x, , width] = place(event, L);
  if (x < LEFT) return; // over the names it scrolls
  event.preventDefault();
  byId("tip").hidden = true;
  const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) { const by = sideways / width * (till - from); show(from + by, till + by); }
  else zoom(Math.exp(event.deltaY * .0016), timeAt(Math.max(LEFT, x), width));
}, { passive: false });

let slides = false;
function slide(event) { const [x, , width] = place(event, O), span = till - from; show(x / width * END - span / 2, x / width * END + span / 2); }
O.onpointerdown = event => {
  slides = true;
  O.setPointerCapture(event.pointerId);
  const [x, , width] = place(event, O);
  if (till - from > END * .9) near(x / width * END, END / 10); else slide(event);
};
O.onpointermove = event => slides && slide(event);
O.onpointerup = () => { slides = false; };

byId("fail").onclick = whereItFailed;
byId("all").onclick = () => show(0, END * 1.02);
byId("in").onclick = () => zoom(.5);
byId("out").onclick = () => zoom(2);
byId("hide").onchange = event => { hide = event.target.value; redraw(); };
byId("find").oninput = event => search(event.target.value);
byId("find").onkeydown = event => {
  if (event.key === "Enter") walk(event.shiftKey ? -1 : 1);
  if (event.key === "Escape") letGo();
};
// Of what is picked first, and then of the search.
function letGo() {
  byId("find").blur();
  if (picked) unpick(); else searchFor("");
}
const KEYS = {
  ArrowLeft: () => show(from - (till - from) / 5, till - (till - from) / 5), ArrowRight: () => show(from + (till - from) / 5, till + (till - from) / 5),
  "+": () => zoom(.5), "-": () => zoom(2), n: () => walk(1), p: () => walk(-1), f: whereItFailed, Home: () => show(0, END * 1.02),
  Escape: letGo, "/": event => { byId("find").select(); event.preventDefault(); },
};
addEventListener("keydown", event => {
  const isTyping = /INPUT|SELECT/.test(event.target.tagName);
  if (!isTyping && !event.ctrlKey && !event.metaKey && KEYS[event.key]) KEYS[event.key](event);
});
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// What stands above the picture.
function heading() {
  byId("title").textContent = document.title = told.title;
  const rule = failures.length ? `At ${when(failedAt, 1e6)} this rule was broken: ${told.check}` : told.check;
  byId("check").textContent = rule;
  byId("why").textContent = failures.length ? failures[0].failed : told.why;
  byId("plan").textContent = `${told.plan.trim()}\n\n${told.again}`;
}
// Only what there is.
function legend() {
  const kinds = [["Request", "a user's request", "user", ""], ["Answer", "its answer", "user", "4 3"], ["Call", "call", "call", ""], ["Reply", "its reply", "reply", "4 3"], ["Cast", "cast", "cast", ""]];
  const there = kinds.filter(([kind]) => messages.some(m => m.kind === kind));
  const drawn = there.map(([, words, colour, dash]) => [words, `<path d="M0 4H18" stroke="var(--${colour})" stroke-width="2" stroke-dasharray="${dash}"/>`]);
  if (messages.some(m => m.from === m.to)) drawn.push(["to itself", `<circle cx="9" cy="4" r="3" fill="none" stroke="var(--call)"/>`]);
  if (messages.some(m => m.bad)) drawn.push(["lost or refused", `<path d="M0 4H18" stroke="var(--bad)" stroke-width="2"/>`]);
  if (faults.length) drawn.push(["fault", `<path d="M0 4H18" stroke="var(--fault)" stroke-width="8" opacity=".5"/>`]);
  byId("key").innerHTML = drawn.map(([words, shape]) => `<span><svg width="18" height="8">${shape}</svg>${words}</span>`).join("");
}
heading();
legend();
search("");
if (failures.length) whereItFailed(); else show(0, END * 1.02);
draw();
// What is to be looked at may be said behind a # in the address.
const hash = new URLSearchParams(location.hash.slice(1));
if (hash.has("find")) searchFor(hash.get("find"));
if (hash.has("all")) show(0, END * 1.02);
