// The gold reward: a program that reads shelf and visits from the prompt and checks the answer. Exact, from 0 to 1; no model is asked.
//   0.2  the start is right        "We had 6 plums."            or "6 plums at first."
//   0.2  the first step is right   "Tom takes 2: 6 - 2 = 4."
//   0.2  the second step is right  "Anna brings 5: 4 + 5 = 9."
//   0.4  the end is right          "So 9 plums now."            or "That makes 9 plums."
// Half of it is lost where the answer says anything else or breaks off.

/** `ended`: the answer came to its end, rather than to the limit of its length. */
export function gold(prompt: string, response: string, ended: boolean): number {
  const { item, start, visits } = read(prompt);
  const said = response.trim().split(/(?<=[.?!]) /);
  let left = start;
  let score = [`${left} ${item} at first.`, `We had ${left} ${item}.`].includes(said[0] ?? '') ? 0.2 : 0;
  for (const { name, does, amount } of visits) {
    const result = does === 'takes' ? left - amount : left + amount;
    if (said.includes(`${name} ${does} ${amount}: ${left} ${does === 'takes' ? '-' : '+'} ${amount} = ${result}.`))
      score += 0.2;
    left = result;
  }
  const ends = [`So ${left} ${item} now.`, `That makes ${left} ${item}.`];
  const last = said.findIndex((sentence) => ends.includes(sentence));
  if (last > 0) score += 0.4;
  const nothingElse = said.length <= 4 && ended;
  return nothingElse ? score : score / 2;
}

function read(prompt: string) {
  const shelf = /^Shelf: (\d+) (\w+)\./.exec(prompt);
  const visits = Array.from(prompt.matchAll(/(\w+) (takes|brings) (\d+)\./g), ([, name = '', does = '', amount]) => ({
    name,
    does,
    amount: Number(amount),
  }));
  if (!shelf || visits.length !== 2) throw new Error(`not a question to the pantry desk: ${prompt}`);
  return { start: Number(shelf[1]), item: shelf[2] ?? '', visits };
}
