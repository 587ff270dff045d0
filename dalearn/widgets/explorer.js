// An explore() figure: the same module beside a kernel (anywidget) and in a static page (page.py).
// It reads scene = {controls, size, caption, frames, alts} and index, the number of the frame
// shown, the last control turning fastest. A frame that is null is asked of Python.

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

// Which of the values are written below a slider: the first, the last, and so many between, evenly,
// as there is room for.
const written = (texts, width) => {
  const room = Math.floor(width / (7 * Math.max(...texts.map((text) => text.length)) + 12));
  const last = texts.length - 1;
  const every = Math.max(1, Math.ceil(last / Math.max(1, room - 1)));
  return texts.map((_, place) => place === last || (place % every === 0 && last - place >= every));
};

// Three numbers or more: a native slider with one stop for each value, and a button that plays them.
const slider = ({ label, texts }, choose, play) => {
  const last = texts.length - 1;
  const input = make("input", {
    type: "range", min: 0, max: last, step: 1, "aria-label": label, autocomplete: "off",
  });
  input.disabled = last === 0;
  input.addEventListener("input", () => {
    const place = Number(input.value); // before `play` sets the slider to what is shown
    play(false);
    choose(place);
  });
  const button = make("button", { type: "button", class: "play" });
  button.addEventListener("click", () => play(!button.classList.contains("playing")));
  const ticks = texts.map((text, place) => {
    const tick = make("span", {}, make("i", {}, text));
    tick.addEventListener("click", () => { input.focus(); play(false); choose(place); });
    return tick;
  });
  const row = make("div", { class: "ticks", "aria-hidden": true }, ...ticks);
  const rule = () => written(texts, row.clientWidth)
    .forEach((seen, place) => ticks[place].classList.toggle("bare", !seen));
  new ResizeObserver(rule).observe(row);
  const show = (place, playing) => {
    input.value = place;
    input.setAttribute("aria-valuetext", texts[place]);
    input.style.setProperty("--filled", last ? place / last : 0);
    button.classList.toggle("playing", playing);
    button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${label}`);
  };
  return { show, nodes: [make("div", { class: "rail" }, ...(last ? [button] : []), input, row)] };
};

// Names, or two numbers: native radio buttons, drawn as segments; the form keeps each figure's
// groups apart.
const segments = ({ label, texts }, choose, play, name) => {
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

const build = (control, choose, play, name) => {
  const { show, nodes } = (control.ordered ? slider : segments)(control, choose, play, name);
  const value = make("b", {});
  const head = make("div", { class: "head", "aria-hidden": true }, control.label + " ", value);
  const node = make("div", { class: "control " + (control.ordered ? "number" : "name") }, head, ...nodes);
  return {
    node,
    show: (place, playing) => { value.textContent = control.texts[place]; show(place, playing); },
  };
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
  let film = null; // the control that plays, and its clock
  const play = (i, on) => {
    if (!on && film?.i !== i) return;
    if (film) clearInterval(film.clock);
    film = null;
    if (on) {
      film = { i, clock: setInterval(next, Math.min(900, Math.max(250, 6000 / counts[i]))) };
      const at = placesOf(model.get("index"), counts)[i];
      if (at === counts[i] - 1) choose(i, 0); // at the end: once more from the beginning
    }
    update();
  };
  const next = () => {
    const { i } = film;
    const place = placesOf(model.get("index"), counts)[i];
    if (!frames[model.get("index")]) return; // the kernel still draws
    if (place + 1 < counts[i]) choose(i, place + 1);
    if (place + 2 >= counts[i]) play(i, false);
  };
  const parts = controls.map((c, i) =>
    build(c, (place) => choose(i, place), (on) => play(i, on), `control-${i}`));

  let awaited = null; // one question at a time: a quick hand must not queue up work in the kernel
  let shown = null;
  let told = model.get("index");
  const update = () => {
    const index = model.get("index");
    const places = placesOf(index, counts);
    parts.forEach((part, i) => part.show(places[i], film?.i === i));
    const ready = Boolean(frames[index]);
    el.classList.toggle("waiting", !ready);
    if (!ready && awaited === null) model.send({ want: (awaited = index) });
    if (!ready) return;
    problem.textContent = "";
    if (shown !== index) [image.src, image.alt, shown] = [frames[index], alts[index], index];
    if (film || told === index) return; // a film is told when it ends
    const words = controls.map(({ label, texts }, i) => `${label} ${texts[places[i]]}`);
    status.textContent = `${words.join(", ")}. ${alts[index]}`;
    told = index;
  };
  const receive = ({ index, frame, alt, error }) => {
    if (awaited === index) awaited = null;
    if (frame) [frames[index], alts[index]] = [frame, alt];
    if (error && index === model.get("index")) { // the old picture stays dim
      if (film) play(film.i, false);
      problem.textContent = error;
    } else update();
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
  return () => {
    if (film) clearInterval(film.clock);
    model.off("change:index", update);
    model.off("msg:custom", receive);
  };
}

export default { render };
