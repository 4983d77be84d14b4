// A response: what is known of it, its query and documents, and its text with a mark around each sentence.
function fact(name, value) {
  return element("li", {}, name + " ", element("b", {}, value));
}

function factsOf(at) {
  const list = element("ul", { className: "facts" });
  list.append(fact("split", data.splits[responses.split[at]]));
  const label = responses.label[at];
  list.append(label === null ? element("li", {}, data.groups[responses.group[at]]) : fact("label", exact(label)));
  if (responses.score[at] !== null) list.append(fact(listElement.dataset.aggregate, measured(responses.score[at])));
  const gap = responses.labelGap[at];
  if (gap !== null && gap > data.scale.responseApart) {
    const apart = fact("apart by", measured(gap));
    apart.className = "apart";
    list.append(apart);
  }
  if (responses.pair.length && responses.pair[at] !== null) list.append(element("li", {}, "pair ", element("bdi", {}, responses.pair[at])));
  return list;
}

function materialOf(at) {
  const query = responses.query[at];
  const documents = responses.documents[at];
  if (query < 0 && !documents.length) return null;
  const said = documents.length === 1 ? "1 document" : documents.length + " documents";
  const summary = element("summary");
  if (query >= 0) summary.append(element("bdi", {}, data.texts[query]));
  if (documents.length) summary.append(element("span", { className: query >= 0 ? "documents" : "" }, said));
  const details = element("details", { className: "material" }, summary);
  details.addEventListener("toggle", () => {
    for (const document of documents) details.append(element("p", { className: "document", dir: "auto" }, data.texts[document]));
  }, { once: true });
  return details;
}

function sentenceMark(sentence, text, beside) {
  const mark = element("mark", { className: "shade-" + shadeOf(sentences.score[sentence]), dir: "auto", tabIndex: -1 }, text);
  mark.dataset.sentence = sentence;
  if (beside) mark.dataset.beside = shownValue(beside, sentence);
  return mark;
}

function textOf(at, beside) {
  const whole = responses.text[at];
  const paragraph = element("p", { className: "text", dir: "auto" });
  let place = 0;
  for (let sentence = firstSentence[at]; sentence < firstSentence[at + 1]; sentence += 1) {
    const start = place + sentences.before[sentence];
    if (start > place) paragraph.append(whole.slice(place, start));
    place = start + sentences.length[sentence];
    paragraph.append(sentenceMark(sentence, whole.slice(start, place), beside));
  }
  if (place < whole.length) paragraph.append(whole.slice(place));
  // One stop for the Tab key a response; arrow keys go on from there.
  const first = paragraph.querySelector("mark");
  if (first) first.tabIndex = 0;
  return paragraph;
}

function card(at, beside) {
  const heading = element("h3", { id: "response-" + at }, element("bdi", {}, responses.id[at]));
  const made = element("article", { className: "card" }, heading, factsOf(at));
  made.setAttribute("aria-labelledby", heading.id);
  made.dataset.response = at;
  const material = materialOf(at);
  if (material) made.append(material);
  made.append(textOf(at, beside));
  return made;
}
