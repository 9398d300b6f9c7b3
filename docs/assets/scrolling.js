// What is wider than the page scrolls: by keyboard, too.
(() => {
  const observer = new ResizeObserver((seen) => {
    for (const { target } of seen) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  const watch = () => {
    for (const wide of document.querySelectorAll(".sk-formula, .md-typeset__scrollwrap")) observer.observe(wide);
    // the theme makes a landmark of every button to copy
    for (const buttons of document.querySelectorAll("nav.md-code__nav:not([role])")) buttons.setAttribute("role", "none");
  };
  const article = document.querySelector("article");
  if (!article) return;
  new MutationObserver(watch).observe(article, { childList: true, subtree: true }); // the theme wraps tables late
  watch();
})();
