export interface Part {
  text: string;
  marked: boolean;
}

const WORD = /[\p{L}\p{N}]+/gu;
/** Words that say little stand everywhere: they are marked only where nothing longer is looked for. */
const MIN_TELLING = 4;
/** Endings by which forms of a word differ; shorter words must be the same. */
const MIN_STEM = 4;
const MAX_ENDING = 3;

const fold = (word: string): string => word.normalize("NFKD").replaceAll(/\p{M}/gu, "").toLowerCase();

/** A text in parts, the words of the query and their nearest forms marked. For the eye: what was found is the passage. */
export function marked(text: string, query: string): Part[] {
  const words = [...query.matchAll(WORD)].map(([word]) => fold(word));
  const telling = words.filter((word) => word.length >= MIN_TELLING || /\d/.test(word));
  const wanted = telling.length > 0 ? telling : words;
  const parts: Part[] = [];
  let last = 0;
  for (const { 0: word, index } of text.matchAll(WORD)) {
    if (!wanted.some((one) => alike(one, fold(word)))) continue;
    if (index > last) parts.push({ text: text.slice(last, index), marked: false });
    parts.push({ text: word, marked: true });
    last = index + word.length;
  }
  if (last < text.length) parts.push({ text: text.slice(last), marked: false });
  return parts;
}

function alike(wanted: string, word: string): boolean {
  if (wanted === word) return true;
  let same = 0;
  while (same < wanted.length && wanted[same] === word[same]) same += 1;
  return same >= MIN_STEM && wanted.length - same <= MAX_ENDING - 1 && word.length - same <= MAX_ENDING;
}
