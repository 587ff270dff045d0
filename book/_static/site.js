// What is wider than its place scrolls, says so at its edge (class `wide`), and can be reached with
// the keyboard. Formulas are set as they come near the window, so this looks again whenever
// something was added to the page.
(() => {
  const BLOCKS = "pre, .cell_output, .pst-scrollable-table-container, div.math > mjx-container";
  const mark = (node, wide) => {
    if (node.classList.contains("wide") === wide) return;
    node.classList.toggle("wide", wide);
    if (wide) node.tabIndex = 0;
    else node.removeAttribute("tabindex");
  };
  const look = (article) => {
    const lines = [...article.querySelectorAll("span.math > mjx-container:not(:has(> mjx-lazy))")];
    lines.forEach((node) => node.classList.remove("wide")); // measured as it stands in the line
    const room = new Map();
    for (const node of lines) {
      const block = node.closest("p, li, dd, td, th, figcaption, h1, h2, h3, h4, div");
      if (!room.has(block)) room.set(block, block.clientWidth);
      if (block.matches("td, th")) continue; // tables scroll as a whole
      const wide = node.getBoundingClientRect().width > room.get(block) + 1;
      if (wide || node.tabIndex === 0) mark(node, wide);
    }
    for (const node of article.querySelectorAll(BLOCKS)) mark(node, node.scrollWidth > node.clientWidth + 1);
  };
  let due = 0;
  const soon = (article) => { due ||= requestAnimationFrame(() => { due = 0; look(article); }); };
  document.addEventListener("DOMContentLoaded", () => {
    const article = document.querySelector(".bd-article");
    if (!article) return;
    new MutationObserver(() => soon(article)).observe(article, { childList: true, subtree: true });
    new ResizeObserver(() => soon(article)).observe(article);
    for (const details of article.querySelectorAll("details")) {
      details.addEventListener("toggle", () => soon(article));
    }
  });
})();
