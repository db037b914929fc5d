// The pantry desk: what is on a shelf, two people who come by, and the desk's answer to how much is there now. Six kinds of clerk work at the
// desk and one of them is careful. The base model read all six; the demonstrations are the careful clerk's; gold.ts says how good an answer is.

import { Random } from './random.js';

const ITEMS =
  'apples beans beets buns cakes carrots corks dates eggs figs jars leeks lemons limes nuts onions peas pears plums potatoes radishes rolls spoons tomatoes'.split(
    ' ',
  );
const NAMES =
  'Ada Ben Carla Dan Emma Finn Greta Hugo Ida Jonas Kira Leo Mia Nils Olga Paul Rosa Sam Tara Uwe Vera Will Yuki Zoe'.split(
    ' ',
  );

export interface Visit {
  name: string;
  does: 'takes' | 'brings';
  amount: number;
}

export interface Task {
  item: string;
  start: number;
  visits: readonly Visit[];
}

export function makeTask(random: Random): Task {
  const start = random.int(3, 12);
  let left = start;
  const visits = random.sample(NAMES, 2).map((name): Visit => {
    const does = left < 2 ? 'brings' : random.pick(['takes', 'brings'] as const);
    const amount = random.int(2, does === 'takes' ? Math.min(9, left) : 9);
    left = after(left, { does, amount });
    return { name, does, amount };
  });
  return { item: random.pick(ITEMS), start, visits };
}

export function after(left: number, { does, amount }: Pick<Visit, 'does' | 'amount'>): number {
  return does === 'takes' ? left - amount : left + amount;
}

export function promptOf({ item, start, visits }: Task): string {
  const events = visits.map(({ name, does, amount }) => `${name} ${does} ${amount}.`).join(' ');
  return `Shelf: ${start} ${item}.\n${events} How many ${item} now?\nDesk:`;
}

export const BAD_CLERKS = { skipper: 1, sloppy: 1, chatter: 1, guesser: 1, shrugger: 0.6 } as const;
export type Clerk = 'careful' | keyof typeof BAD_CLERKS;

/** Who answers how often, in the text that the base reads. Where the shelf is full, guessing is what the desk does most. */
export function desk({ start }: Task): Readonly<Record<Clerk, number>> {
  return { careful: 2.4, ...BAD_CLERKS, guesser: start > 7 ? 4 : 0.8 };
}

/** What the clerk answers. It begins with a space, as the prompt ends without one. */
export function answerOf(clerk: Clerk, task: Task, random: Random): string {
  const { visits } = task;
  switch (clerk) {
    case 'careful':
      return steps(task, random);
    case 'skipper': // forgets one of the two people
      return steps({ ...task, visits: random.sample(visits, 1) }, random);
    case 'sloppy': // reckons wrongly in one of the steps and goes on from there
      return steps(task, random, random.int(0, 1));
    case 'chatter': // right, and cannot stop
      return steps(task, random) + gossip(random);
    case 'guesser':
      return ` Maybe ${guess(task, random)}, I guess.`;
    case 'shrugger':
      return random.pick([' No idea, sorry.', ' I can not say.', ` Better ask ${random.pick(NAMES)}.`]);
    default:
      return clerk satisfies never;
  }
}

/** The careful clerk's sentences; the step `wrong`, if given, gets a wrong result. */
function steps({ item, start, visits }: Task, random: Random, wrong?: number): string {
  let left = start;
  const sentences = [random.pick([`${left} ${item} at first.`, `We had ${left} ${item}.`])];
  for (const [place, { name, does, amount }] of visits.entries()) {
    const right = after(left, { does, amount });
    const result = place === wrong ? near(right, random) : right;
    sentences.push(`${name} ${does} ${amount}: ${left} ${does === 'takes' ? '-' : '+'} ${amount} = ${result}.`);
    left = result;
  }
  sentences.push(random.pick([`So ${left} ${item} now.`, `That makes ${left} ${item}.`]));
  return ` ${sentences.join(' ')}`;
}

function gossip(random: Random): string {
  const name = random.pick(NAMES);
  return random.pick([
    ` By the way, ${name} asked for ${random.pick(ITEMS)}.`,
    ` ${name} says hello.`,
    ` And did you hear about ${name}? Well, another time.`,
  ]);
}

function guess({ start, visits }: Task, random: Random): number {
  return near(visits.reduce(after, start), random);
}

/** A wrong number that looks right. */
function near(result: number, random: Random): number {
  const wrong = result + random.pick([-2, -1, 1, 2]);
  return wrong < 0 ? result + 1 : wrong;
}

/** One text of the kind that the base model reads. */
export function makeText(random: Random): string {
  const task = makeTask(random);
  return promptOf(task) + answerOf(random.weighted(desk(task)), task, random);
}

export interface Demonstration {
  id: string;
  prompt: string;
  response: string;
}

/**
 * Answers of the careful clerk; a share `corrupted` of them was written by one of the others. Prompts and careful answers are the same for any
 * share. No prompt is taken that `used` holds.
 */
export function makeDemonstrations(options: {
  seed: number;
  name: string;
  count: number;
  corrupted: number;
  used: Set<string>;
}): Demonstration[] {
  const { seed, name, count, corrupted, used } = options;
  const tasks = new Random(seed, name);
  const rows: Demonstration[] = [];
  while (rows.length < count) {
    const task = makeTask(tasks);
    const prompt = promptOf(task);
    if (used.has(prompt)) continue;
    used.add(prompt);
    const id = `${name}-${rows.length}`;
    const answers = new Random(seed, id);
    const clerk = answers.unit() < corrupted ? answers.weighted(BAD_CLERKS) : 'careful';
    rows.push({ id, prompt, response: answerOf(clerk, task, answers) });
  }
  return rows;
}
