// The state, its place in the address, and what binds the views together.

function say(text) {
  $("said").textContent = "";
  setTimeout(() => { $("said").textContent = text; }, 30);
}

async function copy(text, button) {
  const label = button.id === "share" ? null : button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  say(t("Copied"));
  button.classList.add("done");
  if (label) button.textContent = t("Copied");
  setTimeout(() => {
    button.classList.remove("done");
    if (label) button.textContent = label;
  }, 1200);
}

// The address

const packed = (text) => encodeURIComponent(text).replace(/[(),;=&]/g, (c) => `%${c.charCodeAt(0).toString(16)}`).replace(/%20/g, "+");
const unpacked = (text) => decodeURIComponent(text.replace(/\+/g, "%20"));

function written() {
  const one = (c) => {
    const given = [...Object.entries(c.choices).map(([n, v]) => `${n}=${packed(String(v))}`), ...Object.entries(c.values).map(([n, v]) => `${n}=${v === Infinity ? "inf" : v}`)];
    return (c.name === OWN ? `!${packed(c.text)}` : c.name) + (given.length ? `(${given.join(",")})` : "");
  };
  const parts = [`f=${state.curves.map(one).join(";")}`];
  if (state.current) parts.push(`show=${state.current}`);
  if (state.view !== "values") parts.push(`view=${state.view}`);
  if (state.range) parts.push(`x=${state.range.join(",")}`);
  if (state.at !== null) parts.push(`at=${state.at}`);
  if (state.language) parts.push(`lang=${state.language}`);
  if (state.embedded) parts.push("embed=1");
  if (state.tab !== "functions") {
    const d = state.depth;
    parts.push(`tab=${state.tab}`, `depth=${[d.function, d.depth, d.width, d.gain ?? "own", d.bias, d.seed, d.layer].join(",")}`);
  }
  return `#${parts.join("&")}`;
}

/** The state of an address; what it says and nobody understands is left out. */
function read(hash) {
  const parts = new Map(hash.replace(/^#/, "").split("&").map((p) => [p.slice(0, p.indexOf("=")), p.slice(p.indexOf("=") + 1)]));
  const finite = (text) => { const v = Number(text); return text !== undefined && text !== "" && Number.isFinite(v) ? v : null; };
  if (parts.has("f")) state.curves = parts.get("f").split(";").map(curveOf).filter(Boolean).slice(0, MOST);
  state.current = Math.max(0, Math.min(state.curves.length - 1, Math.trunc(finite(parts.get("show")) ?? 0)));
  state.view = ["difference", "second"].includes(parts.get("view")) ? parts.get("view") : "values";
  const [a, b] = (parts.get("x") ?? "").split(",").map(finite);
  state.range = a !== null && b !== null && b !== undefined && a < b ? [Math.max(-1e6, a), Math.min(1e6, b)] : null;
  state.at = finite(parts.get("at"));
  state.language = /^[a-z]{2}$/.test(parts.get("lang") ?? "") ? parts.get("lang") : null;
  state.embedded = parts.get("embed") === "1";
  document.documentElement.toggleAttribute("data-embedded", state.embedded);
  state.tab = parts.get("tab") === "depth" ? "depth" : "functions";
  if (parts.has("depth")) {
    const d = parts.get("depth").split(","), kept = (v, low, high, other) => (v === null ? other : Math.min(high, Math.max(low, v))), whole = (v, low, high, other) => Math.round(kept(v, low, high, other));
    state.depth = { function: whole(finite(d[0]), 0, 99, 0), depth: whole(finite(d[1]), 1, 50, 20), width: whole(finite(d[2]), 8, 256, 128), gain: d[3] === "own" ? null : kept(finite(d[3]), 0.1, 3, null), bias: kept(finite(d[4]), 0, 1, 0), seed: whole(finite(d[5]), 1, 9999, 1), layer: whole(finite(d[6]), 1, 50, 9) };
  }
}

function curveOf(text) {
  // a formula written by hand may have parentheses of its own; its values are those of the last ones
  const m = /^(!)(.*?)(?:\(((?:\w+=[^(),=]+,?)+)\))?$/.exec(text) ?? /^(!?)([^()]*)(?:\(([^()]*)\))?$/.exec(text);
  if (!m) return null;
  try {
    const given = (m[3] ?? "").split(",").filter(Boolean).map((p) => p.split("="));
    const curve = { name: m[1] ? OWN : m[2], values: Object.create(null), choices: Object.create(null) };
    if (m[1]) curve.text = unpacked(m[2]).slice(0, LONGEST);
    const record = m[1] ? null : RECORDS.get(m[2]);
    if (!m[1] && !record) return null;
    for (const [name, raw] of given) {
      if (record && Object.hasOwn(record.choices, name)) {
        const value = record.choices[name].find((v) => String(v).toLowerCase() === unpacked(raw).toLowerCase());
        if (value !== undefined) curve.choices[name] = value;
      } else if (raw === "inf" || Number.isFinite(Number(raw))) {
        if (!record || record.parameters.some((p) => p.name === name)) curve.values[name] = raw === "inf" ? Infinity : Number(raw);
      }
    }
    return curve;
  } catch {
    return null;
  }
}

let waiting = null;
function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(keep, 120);
}

/** The view into the address, now. */
function keep() {
  clearTimeout(waiting);
  waiting = null;
  try {
    history.replaceState(null, "", written());
  } catch { /* a page in a sandbox has no address of its own */ }
}

// Drawing

let drawDepth = null, slow = null, next = 0;

/** Draws anew; `whole`: also the details, else only what depends on parameters. */
function changed(whole = true) {
  for (const name of ["functions", "depth"]) {
    $(name).hidden = state.tab !== name;
    $(`tab-${name}`).setAttribute("aria-selected", String(state.tab === name));
    $(`tab-${name}`).tabIndex = state.tab === name ? 0 : -1;
  }
  for (const radio of document.getElementsByName("view")) radio.checked = radio.value === state.view;
  const found = curves();
  if (state.tab === "functions") {
    renderChips(found);
    renderPictures(found);
    clearTimeout(slow);
    if (whole) renderDetails(found);
    else slow = setTimeout(() => refresh(curves()), 60);
  } else {
    drawDepth ??= buildLaboratory();
    cancelAnimationFrame(next);
    if (whole) drawDepth();
    else next = requestAnimationFrame(drawDepth);
  }
  remember();
}

function theme(dark, keep) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").setAttribute("aria-pressed", String(dark));
  try {
    if (keep) localStorage.setItem("softknee-theme", dark ? "dark" : "light");
  } catch { /* a page from a file may keep nothing */ }
}

/** Inside a page of the documentation: its colours. */
function followHost() {
  try {
    const body = parent === window ? null : parent.document.body;
    if (!body?.dataset.mdColorScheme) return;
    const follow = () => theme(body.dataset.mdColorScheme === "slate");
    new MutationObserver(follow).observe(body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });
    follow();
  } catch { /* a page from elsewhere keeps its colours to itself */ }
}

/** Inside a page of the documentation: as high as what it shows, so that nothing is cut off. */
function fitHost() {
  try {
    const frame = state.embedded ? frameElement : null;
    if (!frame) return;
    frame.style.minHeight = 0;
    new ResizeObserver(() => { frame.style.height = `${document.body.offsetHeight + 2}px`; }).observe(document.body);
  } catch { /* a page from elsewhere keeps its frame to itself: it has the height it was given */ }
}

/** What stands in the page itself, and the choice of a language. */
function translatePage() {
  document.documentElement.lang = TONGUE;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.textContent);
  for (const name of ["aria-label", "title", "placeholder"])
    for (const element of document.querySelectorAll(`[${name}]`)) element.setAttribute(name, t(element.getAttribute(name)));
  $("language").append(...[["en", { name: "English" }], ...Object.entries(DATA.translations)].map(([code, { name }]) => make("option", { value: code, selected: code === TONGUE, lang: code }, name)));
  $("language").addEventListener("change", (e) => {
    state.language = e.currentTarget.value;
    keep();
    location.reload();
  });
}

function start() {
  let kept = null;
  try {
    kept = localStorage.getItem("softknee-theme");
  } catch { /* as above */ }
  const system = matchMedia("(prefers-color-scheme: dark)");
  theme(kept ? kept === "dark" : system.matches);
  system.addEventListener("change", (e) => kept ?? theme(e.matches));
  followHost();
  let screen = "light"; // paper is white
  addEventListener("beforeprint", () => { screen = document.documentElement.dataset.theme; theme(false); });
  addEventListener("afterprint", () => theme(screen === "dark"));
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark", true));
  $("share").addEventListener("click", (e) => {
    clearTimeout(waiting);
    const address = location.href.split("#")[0] + written();
    copy(address, e.currentTarget);
  });
  $("version").textContent = DATA.version;
  if (matchMedia("(max-width: 900px)").matches) $("catalogue").open = false;
  translatePage();
  buildList();
  listenToPictures();
  const tabs = ["functions", "depth"];
  tabs.forEach((name, i) => {
    $(`tab-${name}`).addEventListener("click", () => { state.tab = name; changed(); });
    $(`tab-${name}`).addEventListener("keydown", (e) => {
      if (!["ArrowLeft", "ArrowRight"].includes(e.key)) return;
      state.tab = tabs[1 - i];
      changed();
      $(`tab-${state.tab}`).focus();
    });
  });
  const usual = DATA.records.filter((r) => r.torch && r.traits.includes("smooth") && r.traits.includes("keeps the gradient")).slice(0, 4);
  state.curves = usual.map((r) => ({ name: r.name, values: {}, choices: {} }));
  read(location.hash);
  fitHost();
  // the event's address: `remember` may have written the old state over the new one since
  addEventListener("hashchange", (e) => { read(new URL(e.newURL).hash); changed(); keep(); });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) {
      width = innerWidth;
      changed(false);
    }
  });
  changed();
}

// for tests, and for who looks under the hood
globalThis.softknee = { data: DATA, functions: FUNCTIONS, factsOf, meanField, simulate, parse, compiled, differentiated, toPython, toMathML, symbolsOf, state, definition, ownFunction };
start();
