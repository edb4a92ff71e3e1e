// What the theme builds after loading, for those who use a keyboard or a screen reader.
function describe() {
  document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((menu, number) => {
    menu.setAttribute("aria-label", `code ${number + 1}`);
  });
  for (const wrapper of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code, .md-typeset .output, .md-typeset .output pre")) {
    if (wrapper.scrollWidth > wrapper.clientWidth) wrapper.tabIndex = 0;
  }
}
new MutationObserver(describe).observe(document.body, {childList: true, subtree: true});
addEventListener("resize", describe);
addEventListener("load", describe);
