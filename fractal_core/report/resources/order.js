// Which responses are shown, and in which order.
const haystacks = new Array(total);

function haystack(at) {
  if (haystacks[at] === undefined) {
    const query = responses.query[at] < 0 ? "" : data.texts[responses.query[at]];
    haystacks[at] = [responses.id[at], query, responses.text[at]].join("\n").toLowerCase();
  }
  return haystacks[at];
}

// A gap that is worth showing: of a response, or of one of its sentences.
function isApart(name, at) {
  const limit = name === "labelGap" ? data.scale.responseApart : data.scale.sentenceApart;
  return responses[name][at] !== null && responses[name][at] > limit;
}

function isWanted(at, wanted) {
  return (wanted.split === "" || responses.split[at] === Number(wanted.split))
    && (wanted.group === "" || responses.group[at] === Number(wanted.group))
    && (wanted.show === "" || isApart(wanted.show, at))
    && (wanted.search === "" || haystack(at).includes(wanted.search));
}

// Sort keys, the smallest first; null is last.
const KEYS = {
  lowest: (at) => responses.score[at],
  highest: (at) => (responses.score[at] === null ? null : -responses.score[at]),
  input: (at) => at,
};

function keyOf(sort) {
  return KEYS[sort] || ((at) => (responses[sort][at] === null ? null : -responses[sort][at]));
}

function arrange(wanted) {
  const key = keyOf(wanted.sort);
  const keys = new Float64Array(total);
  const found = [];
  for (let at = 0; at < total; at += 1) {
    if (isWanted(at, wanted)) {
      const value = key(at);
      keys[at] = value === null ? Infinity : value;
      found.push(at);
    }
  }
  return found.sort((one, other) => (keys[one] === keys[other] ? one - other : keys[one] < keys[other] ? -1 : 1));
}

// Paint what was searched for; browsers that cannot do without.
function paintFound(list, words) {
  if (!("highlights" in CSS)) return;
  CSS.highlights.delete("found");
  if (!words) return;
  const ranges = [];
  const walker = document.createTreeWalker(list, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.toLowerCase();
    if (text.length !== walker.currentNode.data.length) continue;
    for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
      const range = new Range();
      range.setStart(walker.currentNode, at);
      range.setEnd(walker.currentNode, at + words.length);
      ranges.push(range);
    }
  }
  if (ranges.length) CSS.highlights.set("found", new Highlight(...ranges));
}
