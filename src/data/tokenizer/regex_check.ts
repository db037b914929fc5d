// Regular expressions of a tokenizer.json come with a model. JavaScript's engine tries every way to match: a repeated group that itself holds a
// repeat or a choice, (a+)+ or (a|a)*, may take time beyond all bounds on a short text. No published tokenizer needs one.

/** The first group of that kind, as it stands in the pattern. */
export function endlessGroup(pattern: string): string | undefined {
  const groups: { start: number; risky: boolean }[] = [{ start: 0, risky: false }];
  let classes = 0; // open brackets: classes hold classes in Oniguruma's syntax
  for (let i = 0; i < pattern.length; ++i) {
    const character = pattern[i];
    const top = groups.at(-1);
    if (top === undefined) break;
    if (character === '\\') i += 1;
    else if (character === '[') classes += 1;
    else if (character === ']') classes = Math.max(0, classes - 1);
    if (classes > 0) continue;
    if (character === '(') groups.push({ start: i, risky: false });
    else if (character === '|') top.risky = true;
    else if (character === ')' && groups.length > 1) {
      groups.pop();
      if (top.risky && repeats(pattern, i + 1)) return pattern.slice(top.start, i + 2);
      const outer = groups.at(-1);
      // A choice inside a group that is not repeated stays a risk for the group around it.
      if (outer !== undefined) outer.risky ||= top.risky || repeats(pattern, i + 1);
    } else if (repeats(pattern, i + 1)) top.risky = true;
  }
  return undefined;
}

const fewTimes = 8;

function repeats(pattern: string, at: number): boolean {
  const next = pattern[at];
  if (next === '*' || next === '+') return true;
  const most = /^\{\d*(,?)(\d*)\}/.exec(pattern.slice(at, at + 24));
  return most !== null && most[1] === ',' && (most[2] === '' || Number(most[2]) > fewTimes);
}

/** No tokenizer's parts are nested deeper; the library calls itself level by level. */
const deepest = 64;

/** Every `Regex` in the parts of a tokenizer.json; undefined: they are nested too deep. */
export function regexesIn(parts: unknown): string[] | undefined {
  const found: string[] = [];
  let level: unknown[] = [parts];
  for (let depth = 0; level.length > 0; ++depth) {
    if (depth > deepest) return undefined;
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      for (const [key, inner] of Object.entries(value)) {
        if (key === 'Regex' && typeof inner === 'string') found.push(inner);
        else next.push(inner);
      }
    }
    level = next;
  }
  return found;
}
