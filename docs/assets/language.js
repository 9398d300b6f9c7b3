// A chapter in the reader's language: the one chosen here before, else the browser's first that there is.
// The links at a chapter's head choose; English is shown where there is nothing else.
(() => {
  const key = "softknee-language", links = [...document.querySelectorAll("[data-language]")];
  if (!links.length) return;
  const keep = (code) => { try { localStorage.setItem(key, code); } catch { /* a page from a file may keep nothing */ } };
  for (const link of links) link.addEventListener("click", () => keep(link.dataset.language));
  let kept = null;
  try {
    kept = localStorage.getItem(key);
  } catch { /* as above */ }
  const shown = document.documentElement.lang.slice(0, 2), offered = [shown, ...links.map((l) => l.dataset.language)];
  const wanted = kept ?? navigator.languages.map((l) => l.slice(0, 2)).find((l) => offered.includes(l));
  if (shown === "en" && wanted && wanted !== "en") {
    const link = links.find((l) => l.dataset.language === wanted);
    if (link) location.replace(link.href);
  }
})();
