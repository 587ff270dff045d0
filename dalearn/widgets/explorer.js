// An explore() figure: the same module beside a kernel (anywidget) and in a static page (page.py).
// It reads scene = {controls, size, caption, frames, alts} and index, the number of the frame
// shown, the last control turning fastest. A frame that is null is asked of Python.

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

// Numbers: a native slider with one stop for each value.
const slider = ({ label, texts }, choose) => {
  const last = texts.length - 1;
  const input = make("input", {
    type: "range", min: 0, max: last, step: 1, "aria-label": label, autocomplete: "off",
  });
  input.disabled = last === 0;
  input.addEventListener("input", () => choose(Number(input.value)));
  const ticks = texts.map((text, place) => {
    const tick = make("span", {}, text);
    tick.addEventListener("click", () => { input.focus(); choose(place); });
    return tick;
  });
  const crowded = texts.join("   ").length > 30 ? " crowded" : "";
  const show = (place) => {
    input.value = place;
    input.setAttribute("aria-valuetext", texts[place]);
    input.style.setProperty("--filled", last ? place / last : 0);
  };
  return { show, nodes: [input, make("div", { class: "ticks" + crowded, "aria-hidden": true }, ...ticks)] };
};

// Names: native radio buttons, drawn as segments; the form keeps each figure's groups apart.
const segments = ({ label, texts }, choose, name) => {
  const inputs = texts.map((text, place) => {
    const input = make("input", { type: "radio", name, autocomplete: "off" });
    input.addEventListener("change", () => choose(place));
    return input;
  });
  const group = make("div", { class: "segments", role: "radiogroup", "aria-label": label },
    ...texts.map((text, place) => make("label", {}, inputs[place], make("span", {}, text))));
  const far = { Home: 0, PageUp: 0, End: texts.length - 1, PageDown: texts.length - 1 };
  group.addEventListener("keydown", (event) => {
    if (!(event.key in far)) return;
    event.preventDefault();
    inputs[far[event.key]].focus();
    choose(far[event.key]);
  });
  return { show: (place) => { inputs[place].checked = true; }, nodes: [group] };
};

const build = (control, choose, name) => {
  const { show, nodes } = (control.ordered ? slider : segments)(control, choose, name);
  const value = make("b", {});
  const head = make("div", { class: "head", "aria-hidden": true }, control.label + " ", value);
  const node = make("div", { class: "control " + (control.ordered ? "number" : "name") }, head, ...nodes);
  return { node, show: (place) => { value.textContent = control.texts[place]; show(place); } };
};

// The slowest control counts in the largest steps, as the digits of a number do.
const placesOf = (index, counts) =>
  counts.reduceRight(([places, rest], n) => [[rest % n, ...places], Math.floor(rest / n)], [[], index])[0];
const indexOf = (places, counts) => places.reduce((index, place, i) => index * counts[i] + place, 0);

function render({ model, el }) {
  const { controls, size, caption, frames, alts } = model.get("scene");
  const counts = controls.map(({ texts }) => texts.length);
  const still = el.querySelector("img"); // a static page shows the start frame before we run
  if (still) frames[model.get("index")] ??= still.getAttribute("src");

  const image = make("img", { width: size[0], height: size[1], alt: "" });
  const status = make("div", { class: "status", role: "status", "aria-live": "polite" });
  const problem = make("p", { class: "problem", role: "alert" });
  const figure = make("figure", {}, make("div", { class: "sheet" }, image), problem);
  if (caption) figure.append(make("figcaption", {}, caption));

  const choose = (i, place) => {
    const places = placesOf(model.get("index"), counts);
    places[i] = place;
    model.set("index", indexOf(places, counts));
    model.save_changes();
  };
  const parts = controls.map((c, i) => build(c, (place) => choose(i, place), `control-${i}`));

  let awaited = null; // one question at a time: a quick hand must not queue up work in the kernel
  let shown = null;
  const update = () => {
    const index = model.get("index");
    const places = placesOf(index, counts);
    parts.forEach((part, i) => part.show(places[i]));
    const ready = Boolean(frames[index]);
    el.classList.toggle("waiting", !ready);
    if (!ready && awaited === null) model.send({ want: (awaited = index) });
    if (!ready) return;
    problem.textContent = "";
    if (shown === index) return;
    image.src = frames[index];
    image.alt = alts[index];
    const words = controls.map(({ label, texts }, i) => `${label} ${texts[places[i]]}`);
    if (shown !== null) status.textContent = `${words.join(", ")}. ${alts[index]}`;
    shown = index;
  };
  const receive = ({ index, frame, alt, error }) => {
    if (awaited === index) awaited = null;
    if (frame) [frames[index], alts[index]] = [frame, alt];
    if (error && index === model.get("index")) problem.textContent = error; // the old picture stays dim
    else update();
  };

  const form = make("form", { class: "controls" }, ...parts.map(({ node }) => node));
  form.addEventListener("submit", (event) => event.preventDefault());
  // A notebook takes single keys as commands (arrows move between cells, d d deletes one).
  const keep = (event) => { if (!(event.ctrlKey || event.metaKey || event.altKey)) event.stopPropagation(); };
  form.addEventListener("keydown", keep);
  const hint = make("p", { class: "hint" },
    controls.some(({ ordered }) => ordered) ? "Drag, or use the arrow keys." : "The arrow keys work too.");
  el.classList.add("dalearn-explore");
  el.style.setProperty("--width", `${size[0]}px`);
  el.replaceChildren(form, figure, hint, status);

  model.on("change:index", update);
  model.on("msg:custom", receive);
  update();
  return () => { model.off("change:index", update); model.off("msg:custom", receive); };
}

export default { render };
