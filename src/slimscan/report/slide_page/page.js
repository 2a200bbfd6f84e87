// Two slides that move together. What is shown comes from /slides and /tile, or lies in the page (HELD) when it stands alone.
"use strict";

const $ = (name) => document.getElementById(name);
const held = globalThis.HELD || null;
const views = {};
let slides = null;
let leading = null;

const told = (text) => { $("where").textContent = text; };

function source(side) {
  const one = slides[side === "d" ? "a" : side];
  return {
    width: one.width, height: one.height, tileSize: one.tile, tileOverlap: 0, minLevel: one.least, maxLevel: one.most,
    getTileUrl: (level, x, y) => (held ? held.tiles[`${side}/${level}/${x}_${y}`] : `tile/${side}/${level}/${x}_${y}`),
  };
}

function viewer(side) {
  return OpenSeadragon({
    element: $(`view-${side}`), tileSources: source(side), showNavigationControl: false, showNavigator: side === "b",
    navigatorPosition: "BOTTOM_RIGHT", drawer: "canvas", animationTime: 0.3, maxZoomPixelRatio: 8,
    visibilityRatio: 0.2, gestureSettingsMouse: { clickToZoom: false }, preserveImageSizeOnResize: true,
  });
}

function together(from, to) {
  views[from].addHandler("viewport-change", () => {
    if (leading && leading !== from) return;
    leading = from;
    views[to].viewport.zoomTo(views[from].viewport.getZoom(true), null, true);
    views[to].viewport.panTo(views[from].viewport.getCenter(true), true);
    leading = null;
    where();
  });
}

function where() {
  const view = views.a.viewport;
  const item = views.a.world.getItemAt(0);
  if (!item) return;
  const centre = item.viewportToImageCoordinates(view.getCenter(true));
  const scale = item.viewportToImageZoom(view.getZoom(true));
  const um = slides.a.mpp ? `, ${(slides.a.mpp[1] / scale).toPrecision(3)} \u00b5m a screen pixel` : "";
  const power = slides.a.magnification ? `${(slides.a.magnification * scale).toPrecision(3)}x` : `${(100 * scale).toPrecision(3)} %`;
  for (const one of [views.a, views.b]) if (one.drawer) one.drawer.setImageSmoothingEnabled(scale < 1);
  told(`${power}${um}, centre x ${Math.round(centre.x)}, y ${Math.round(centre.y)}`);
  document.body.dataset.scale = scale.toPrecision(4);
  document.body.dataset.centre = `${Math.round(centre.x)} ${Math.round(centre.y)}`;
}

function show(side) {
  $("right").value = side;
  document.body.dataset.right = side;
  const names = { a: slides.a.name, b: slides.b.name, d: "difference of source and result, 8 times" };
  $("name-b").textContent = names[side];
  $("view-b").setAttribute("aria-label", names[side]);
  const old = views.b.world.getItemAt(0);
  views.b.addTiledImage({ tileSource: source(side), success: () => { if (old) views.b.world.removeItem(old); } });
}

function blink() {
  const pressed = $("blink").getAttribute("aria-pressed") === "true";
  $("blink").setAttribute("aria-pressed", String(!pressed));
  clearInterval(blink.timer);
  if (!pressed) blink.timer = setInterval(() => show($("right").value === "a" ? "b" : "a"), 700);
  else show("b");
}

const whole = () => views.a.viewport.goHome(true);
const full = () => views.a.viewport.zoomTo(views.a.world.getItemAt(0).imageToViewportZoom(1), null, true);

function key(event) {
  if (event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    b: () => show($("right").value === "a" ? "b" : "a"), d: () => { if (!held) show($("right").value === "d" ? "b" : "d"); },
    0: whole, 1: full,
  }[event.key];
  if (act) { event.preventDefault(); event.stopPropagation(); act(); }
}

async function open() {
  if (held) slides = held.slides;
  else {
    const answer = await fetch("slides");
    if (!answer.ok) { told((await answer.text()).trim()); return; }
    slides = await answer.json();
  }
  $("name-a").textContent = slides.a.name;
  document.title = `${slides.a.name} and ${slides.b.name}`;
  if (held) $("right").querySelector("option[value=d]").remove();
  let ready = 0;
  for (const side of ["a", "b"]) {
    views[side] = viewer(side);
    views[side].addHandler("open", () => { ready += 1; if (ready === 2) { where(); document.body.dataset.ready = "yes"; } });
    views[side].addHandler("tile-load-failed", () => told("a tile cannot be shown; whoever runs the server can look at the file"));
  }
  together("a", "b");
  together("b", "a");
  $("name-b").textContent = slides.b.name;
  document.body.dataset.right = "b";
  $("right").addEventListener("change", () => show($("right").value));
  $("blink").addEventListener("click", blink);
  $("whole").addEventListener("click", whole);
  $("full").addEventListener("click", full);
  document.addEventListener("keydown", key, true);
}

open();
