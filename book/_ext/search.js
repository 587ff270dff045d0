// Looks up the words of ?q= in window.BOOK, which the build wrote (site_search.py): pages, each with
// its sections [id, title, text]. A word is found at the beginning of words, in any case.
(() => {
  const query = new URLSearchParams(location.search).get("q")?.trim() ?? "";
  const place = document.querySelector("#search-results");
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const quoted = (word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const words = plain(query).split(/\s+/).filter(Boolean);
  const patterns = words.map((word) => new RegExp(`(?<![\\p{L}\\p{N}])${quoted(word)}`, "gu"));
  const count = (text, pattern) => (text.match(pattern) ?? []).length;

  // A title weighs more than a text, a tenth mention less than a first; every word must occur.
  const weigh = (title, text) => {
    const scores = patterns.map((p) => 8 * count(title, p) + Math.log2(1 + count(text, p)));
    return scores.every(Boolean) ? scores.reduce((sum, s) => sum + s, 0) : 0;
  };
  const judge = ({ page, title, back, sections }) => {
    const hits = sections
      .map(([id, name, text]) => ({ id, name, text, score: weigh(plain(name), plain(text)) }))
      .filter(({ score }) => score)
      .sort((a, b) => b.score - a.score);
    const whole = hits.reduce((sum, { score }) => sum + score, weigh(plain(title), "") * 4);
    return { page, title, hits, score: back ? whole / 8 : whole };
  };

  // `plain` may change the length of a text (accents), so the excerpt is cut from what it gives
  // only where the lengths agree, as they do in nearly all texts.
  const excerpt = (text) => {
    const low = plain(text);
    const spots = patterns.flatMap((p) => [...low.matchAll(p)].map((m) => [m.index, m[0].length]));
    spots.sort((a, b) => a[0] - b[0]);
    const from = Math.max(0, (spots[0]?.[0] ?? 0) - 80);
    const to = from + 220;
    const node = make("p", { class: "excerpt" }, from ? "… " : "");
    let at = from;
    if (low.length === text.length) {
      for (const [start, length] of spots.filter(([start]) => start < to)) {
        if (start < at) continue;
        node.append(text.slice(at, start), make("mark", {}, text.slice(start, start + length)));
        at = start + length;
      }
    }
    node.append(text.slice(at, Math.max(at, to)), to < text.length ? " …" : "");
    return node;
  };
  const remember = () => {
    try { localStorage.setItem("sphinx_highlight_terms", query); } catch { /* not allowed here */ }
  };
  const link = (address, text) => {
    const a = make("a", { href: address }, text);
    a.addEventListener("click", remember); // the page marks them
    return a;
  };

  const show = () => {
    const found = window.BOOK.map(judge).filter(({ score }) => score);
    found.sort((a, b) => b.score - a.score);
    const many = found.reduce((sum, { hits }) => sum + hits.length, 0);
    const said = found.length ? `${many} sections on ${found.length} pages` : "Nothing found";
    place.replaceChildren(make("p", { class: "search-summary", role: "status" }, `${said} for “${query}”.`));
    for (const { page, title, hits } of found) {
      const list = make("ul", {}, ...hits.slice(0, 3).map(({ id, name, text }) =>
        make("li", {}, link(`${page}#${id}`, name), excerpt(text))));
      const more = hits.length > 3 ? [make("p", { class: "more" }, `and ${hits.length - 3} more sections`)] : [];
      place.append(make("section", {}, make("h2", {}, link(page, title)), list, ...more));
    }
  };
  const input = document.querySelector("form.bd-search input");
  for (const field of document.querySelectorAll("form.bd-search input")) field.value = query;
  if (words.length) show();
  else input?.focus();
})();
