// A page of an activation in the reader's language: labels, facts, uses and meanings, text by text. What is not
// translated stays English. The words come as a script, which a page opened from a file may load, too.
(() => {
  const head = document.querySelector("[data-words]");
  if (!head) return;
  const key = "softknee-language", offered = JSON.parse(head.dataset.words);
  const get = () => { try { return localStorage.getItem(key); } catch { return null; } };
  const usual = navigator.languages.map((l) => l.slice(0, 2)).find((l) => l === "en" || offered[l]);
  const kept = get(), shown = kept === "en" || offered[kept] ? kept : usual ?? "en";
  const choices = Object.entries({ en: "English", ...offered }).map(([code, name]) => {
    const made = document.createElement(code === shown ? "strong" : "button");
    [made.lang, made.textContent] = [code, name];
    made.addEventListener("click", () => {
      try { localStorage.setItem(key, code); } catch { return; }
      location.reload();
    });
    return made;
  });
  head.append(...choices.flatMap((c, i) => (i ? [" · ", c] : [c])));
  if (shown === "en") return;

  const script = document.createElement("script");
  script.src = `${head.dataset.folder}words-${shown}.js`;
  script.onload = () => {
    const { exact, phrases, names } = globalThis.softkneeWords;
    const known = Object.keys(phrases).sort((a, b) => b.length - a.length).map((p) => p.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const pattern = new RegExp(`(?<!\\p{L})(?:${known.join("|")})(?!\\p{L})`, "gu");
    const found = [];
    for (const root of [head.closest("article"), ...document.querySelectorAll(".md-nav--secondary")]) {
      const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) if (!walker.currentNode.parentElement.closest("math, pre, code, .sk-languages, .sk-name")) found.push(walker.currentNode);
    }
    for (const text of found) {
      const [, before, said, after] = /^(\s*)(.*?)(\s*)$/s.exec(text.data), facts = text.parentElement.closest(".sk-facts");
      const told = Object.hasOwn(exact, said) ? exact[said] : facts ? said.replace(pattern, (p) => phrases[p]) : said;
      if (told === said || !said) continue;
      text.data = before + told + after;
      text.parentElement.lang = shown;
    }
    const title = head.closest("article").querySelector("h1"), name = names[title.firstChild.data.trim()];
    if (name) {
      const said = document.createElement("small");
      [said.lang, said.textContent] = [shown, name];
      title.firstChild.after(" ", said);
    }
    document.documentElement.dataset.words = shown;
  };
  document.head.append(script);
})();
