// The list: as many cards as have been scrolled to, made when they are needed.
const listElement = document.getElementById("list");
const moreButton = document.getElementById("more");
const controls = document.getElementById("controls");
const NAMES = ["sort", "show", "split", "group", "beside"];
const STEP = 40;
const PRINTED = 300;
let order = [];
let shown = 0;
let wanted = {};

function grouped(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

function showMore(count = STEP) {
  const fragment = document.createDocumentFragment();
  const end = Math.min(order.length, shown + count);
  for (; shown < end; shown += 1) fragment.append(card(order[shown], wanted.beside));
  listElement.append(fragment);
  moreButton.hidden = shown >= order.length;
  moreButton.textContent = "Show more (" + grouped(order.length - shown) + " left)";
  paintFound(listElement, wanted.search);
}

function update() {
  wanted = Object.fromEntries(NAMES.map((name) => [name, document.getElementById(name).value]));
  wanted.search = document.getElementById("search").value.trim().toLowerCase();
  hideTip();
  order = arrange(wanted);
  shown = 0;
  listElement.replaceChildren();
  if (!order.length) listElement.append(element("p", { className: "empty" }, "No response is like that. Reset shows all of them."));
  showMore();
  const all = grouped(total) + (total === 1 ? " response" : " responses");
  document.getElementById("count").textContent = order.length === total ? all : grouped(order.length) + " of " + all;
  const above = listElement.getBoundingClientRect().top - controls.offsetHeight;
  if (above < 0) scrollBy(0, above - 16);
}

function moveTo(mark) {
  if (!mark) return;
  for (const other of mark.closest(".text").querySelectorAll("mark[tabindex='0']")) other.tabIndex = -1;
  mark.tabIndex = 0;
  mark.focus({ preventScroll: true });
  mark.scrollIntoView({ block: "nearest" });
}

function firstOf(cardElement) {
  return cardElement && cardElement.querySelector("mark");
}

const MOVES = {
  ArrowRight: (mark) => mark.nextElementSibling,
  ArrowLeft: (mark) => mark.previousElementSibling,
  Home: (mark) => mark.parentElement.firstElementChild,
  End: (mark) => mark.parentElement.lastElementChild,
  ArrowDown: (mark) => firstOf(mark.closest(".card").nextElementSibling),
  ArrowUp: (mark) => firstOf(mark.closest(".card").previousElementSibling),
};

function onKey(event) {
  if (event.target.localName !== "mark" || event.ctrlKey || event.altKey || event.metaKey || !MOVES[event.key]) return;
  event.preventDefault();
  if (event.key === "ArrowDown" && !event.target.closest(".card").nextElementSibling) showMore();
  moveTo(MOVES[event.key](event.target));
}

function start() {
  let waiting = 0;
  controls.hidden = false;
  document.getElementById("filters").open = matchMedia("(min-width: 40rem)").matches;
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, 120);
  });
  controls.addEventListener("reset", () => setTimeout(update));
  moreButton.addEventListener("click", () => {
    const last = listElement.lastElementChild;
    showMore();
    moveTo(firstOf(last.nextElementSibling));
  });
  const observer = new IntersectionObserver((entries) => {
    // A busy page hears of several changes at once: the last is how things are.
    if (!entries.at(-1).isIntersecting || !shown || shown >= order.length) return;
    showMore();
    // Asked anew, it answers even if the button has come back into sight before it was seen to have left.
    observer.unobserve(moreButton);
    observer.observe(moreButton);
  }, { rootMargin: "1200px" });
  observer.observe(moreButton);
  listElement.addEventListener("keydown", onKey);
  watchSentences(listElement);
  addEventListener("beforeprint", () => { if (shown < PRINTED) showMore(PRINTED - shown); });
  update();
  document.documentElement.dataset.ready = "true";
}

start();
